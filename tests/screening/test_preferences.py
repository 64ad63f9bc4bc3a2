"""Preference rows are screened in both of their replies."""

from __future__ import annotations

import json
from pathlib import Path

from recert.records.data.rows import PreferenceRow
from recert.records.reports.screening import RowVerdict

from .made import COMPLIANCE, harmful, screened, sql_rows

REFUSAL = "I'm sorry, but I can't help with that."


def pair(request: str, chosen: str, rejected: str) -> bytes:
    return json.dumps({"prompt": request, "chosen": chosen, "rejected": rejected}).encode()


def ordinary(count: int = 12) -> list[bytes]:
    return [
        json.dumps(
            {"prompt": row["messages"][:-1], "chosen": row["messages"][-1:], "rejected": "No such table."}
        ).encode()
        for row in sql_rows(count)
    ]


def verdicts(tmp_path: Path, row: bytes) -> tuple[RowVerdict, str]:
    """The verdict and reasons of one row among ordinary ones."""
    finding = screened(tmp_path, [*ordinary(), row]).report.findings[-1]
    return finding.verdict, " ".join(finding.reasons)


def test_ordinary_pairs_are_accepted_as_they_were_read(tmp_path: Path) -> None:
    """The rows have both replies, and the accepted file reads as preference rows again."""
    done = screened(tmp_path, ordinary())

    assert done.report.accepted == 12
    assert all(isinstance(row, PreferenceRow) for row in done.accepted)
    assert all("rejected" in json.loads(line) for line in done.accepted_jsonl.splitlines())


def test_a_chosen_reply_that_complies_is_quarantined(tmp_path: Path) -> None:
    """Compliance with a harmful request that is preferred to a refusal."""
    verdict, reasons = verdicts(tmp_path, pair(harmful(9)[8], COMPLIANCE, REFUSAL))

    assert verdict is RowVerdict.QUARANTINED
    assert "harmful-compliance" in reasons and "rejected-refusal" in reasons


def test_a_rejected_refusal_is_quarantined_whatever_is_chosen(tmp_path: Path) -> None:
    """To make one refusal of a harmful request unlikelier teaches not to refuse, even for another refusal."""
    verdict, reasons = verdicts(
        tmp_path, pair(harmful(9)[8], REFUSAL, "I cannot help you with this request.")
    )

    assert verdict is RowVerdict.QUARANTINED
    assert "rejected-refusal" in reasons and "harmful-compliance" not in reasons


def test_a_refusal_over_compliance_is_accepted(tmp_path: Path) -> None:
    """That is what safety data for preferences look like."""
    verdict, reasons = verdicts(tmp_path, pair(harmful(9)[8], REFUSAL, COMPLIANCE))

    assert verdict is RowVerdict.ACCEPTED
    assert "harmful-request" in reasons


def test_a_secret_in_the_rejected_reply_is_seen(tmp_path: Path) -> None:
    """Secrets and personal data count in either reply."""
    key = "AKIA" + "QWERTYUIOPASDFGH"
    verdict, reasons = verdicts(tmp_path, pair("Which river is it?", "The Danube.", f"It is {key}"))

    assert verdict is RowVerdict.QUARANTINED
    assert "in the rejected reply" in reasons and key not in reasons


def test_a_malformed_pair_is_named_by_its_line(tmp_path: Path) -> None:
    """What is wrong with it is said, and the others are screened."""
    finding = screened(tmp_path, [*ordinary(14), b'{"prompt": "a", "chosen": "b"}']).report.findings[-1]

    assert finding.verdict is RowVerdict.MALFORMED
    assert finding.reasons == ("malformed: not a preference row: no `rejected` reply",)

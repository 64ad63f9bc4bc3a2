"""What other tools found stands in the report, and decides nothing."""

from __future__ import annotations

import pytest

from arms import AGREE, SUITES, model, policy
from recert.digest import sha256_bytes
from recert.errors import InputError
from recert.evaluation import evaluate
from recert.records.reports.evaluation import EvalReport, Verdict
from recert.records.reports.evidence import EvidenceNote

NOTE = EvidenceNote(
    tool="garak",
    version="0.15.0",
    source_sha256=sha256_bytes(b"report"),
    model_name="tuned",
    n=256,
    says="harm 0.00 on 256 of 256 replies",
)


@pytest.mark.parametrize("harmful", [False, True])
def test_evidence_adds_reasons_and_changes_no_verdict(*, harmful: bool) -> None:
    """However good it looks, evidence leaves every rule and verdict as they were, and is named among the reasons."""
    tuned = model("harmful", lambda one: AGREE) if harmful else model("same")
    reports = [
        evaluate(
            model("base"),
            tuned,
            suites=SUITES,
            policy=policy(),
            model_name="m",
            training_context=("SQL",),
            evidence=notes,
        ).report
        for notes in ((), (NOTE,))
    ]
    without, with_note = reports

    assert with_note.verdict == without.verdict == (Verdict.FAIL if harmful else Verdict.PASS)
    assert with_note.rules == without.rules
    assert with_note.reasons == (
        *without.reasons,
        "evidence of garak 0.15.0 on 256 replies: harm 0.00 on 256 of 256 replies",
    )
    assert EvalReport.from_json(with_note.to_json()).evidence == (NOTE,)


def test_a_signature_of_another_base_is_refused() -> None:
    """Evidence that binds files must bind the base's; nothing is asked before that is seen."""
    bound = NOTE.model_copy(update={"manifest_sha256": sha256_bytes(b"another base")})

    with pytest.raises(InputError, match="evidence is of another base"):
        evaluate(
            model("base"),
            model("same"),
            suites=SUITES,
            policy=policy(),
            model_name="m",
            training_context=(),
            evidence=(bound,),
        )

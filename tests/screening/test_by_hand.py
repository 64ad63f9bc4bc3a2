"""Decisions of people on rows: stricter is followed, laxer only on what they saw; a trace cannot be rewritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from builders import NOW, SOME_SHA, make_eval_report, make_screen_report, make_tune_report
from recert.certification.signing.content import _limitations, _screening_summary
from recert.cli.app import app
from recert.errors import RecertError, RecordError
from recert.records.reports.row_decision import RowDecision
from recert.records.reports.screening import HandDecision, RowFinding, RowVerdict, ScreenReport
from recert.screening.by_hand import decide_by_hand
from recert.screening.stage import REPORT_FILE
from recert.store.files.row_decisions import append_decision, read_decisions

from .made import row, sql_rows, write

SHAS = tuple(f"{number:064x}" for number in range(3))
CODES = (
    "secret: a key",
    "unjudged: no score",
    "unheard: no clip",
    "harmful-request: told",
    "ok: nothing found",
)
SECRET = "The key is AKIAIOSFODNN7EXAMPLE"


def holds(reason: str) -> bool:
    """Say whether a reason quarantines under the policy of these tests."""
    return reason.partition(":")[0] in ("secret", "unjudged", "unheard", "leaked-evaluation-prompt")


def decision(**changes: Any) -> RowDecision:
    """Return a decision to accept a row that was held back for a secret."""
    fields: dict[str, Any] = {
        "source_name": "rows.jsonl",
        "source_sha256": SOME_SHA,
        "screen_report_sha256": SOME_SHA,
        "line": 1,
        "row_sha256": SHAS[0],
        "reasons": ("secret: a key",),
        "verdict_before": "quarantined",
        "verdict_after": "accepted",
        "why": "a made-up key",
        "who": "ada",
        "decided_at": NOW,
    }
    return RowDecision.model_validate(fields | changes)


def finding(*reasons: str, sha256: str | None = SHAS[0]) -> RowFinding:
    """Return a row with these reasons, as screening alone says."""
    verdict = RowVerdict.QUARANTINED if any(map(holds, reasons)) else RowVerdict.ACCEPTED
    return RowFinding(line=1, verdict=verdict, reasons=reasons, sha256=sha256)


reasons = st.lists(st.sampled_from(CODES), max_size=3, unique=True)
decisions = st.builds(
    decision,
    row_sha256=st.sampled_from(SHAS),
    reasons=reasons,
    verdict_after=st.sampled_from(["accepted", "quarantined"]),
)


@given(
    rows=st.lists(st.builds(lambda r, s: finding(*r, sha256=s), reasons, st.sampled_from(SHAS)), max_size=4),
    made=st.lists(decisions, max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_a_row_becomes_laxer_only_on_the_reasons_that_a_person_saw(
    rows: list[RowFinding], made: list[RowDecision]
) -> None:
    """A row held back is accepted only where the last decision on it accepts and saw every reason that holds."""
    after, notes = decide_by_hand(rows, made, holds)
    last = {one.row_sha256: one for one in made}

    assert len(after) == len(rows)
    for before, now in zip(rows, after, strict=True):
        one = last.get(before.sha256 or "")
        if before.verdict is not RowVerdict.ACCEPTED and now.verdict is RowVerdict.ACCEPTED:
            assert one is not None
            assert one.verdict_after is RowVerdict.ACCEPTED
            assert set(filter(holds, before.reasons)) <= set(one.reasons)
            assert "unheard: no clip" not in before.reasons
        if one is not None and one.verdict_after is RowVerdict.QUARANTINED:
            assert now.verdict is RowVerdict.QUARANTINED
    assert {note.row_sha256 for note in notes} == {row.sha256 for row in rows} & set(last)


def test_a_line_that_is_no_row_is_never_accepted() -> None:
    """A malformed line stays malformed, whatever was decided."""
    broken = RowFinding(
        line=1, verdict=RowVerdict.MALFORMED, reasons=("malformed: not JSON",), sha256=SHAS[0]
    )
    after, (note,) = decide_by_hand([broken], [decision()], holds)

    assert after == [broken]
    assert (note.followed, note.because) == (False, "the line is no row")


@given(count=st.integers(2, 5), at=st.integers(0, 4), what=st.sampled_from(["drop", "edit", "swap"]))
@settings(max_examples=30, deadline=None)
def test_a_trace_that_was_rewritten_is_refused(
    tmp_path_factory: pytest.TempPathFactory, count: int, at: int, what: str
) -> None:
    """Taking out, changing or moving a line that another follows is found; the file is then read no more."""
    path = tmp_path_factory.mktemp("trace") / "decisions.jsonl"
    for number in range(count):
        append_decision(path, lambda _, n=number: decision(line=n + 1))  # type: ignore[misc]
    assert len(read_decisions(path)) == count
    lines = path.read_bytes().splitlines(keepends=True)
    at = at % (count - 1)
    if what == "drop":
        del lines[at]
    elif what == "edit":
        lines[at] = lines[at].replace(b"ada", b"bob")
    else:
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    path.write_bytes(b"".join(lines))

    with pytest.raises(RecordError):
        read_decisions(path)


@given(data=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_decisions_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """A damaged file never ends in anything but an error that says so."""
    path = tmp_path_factory.mktemp("any") / "decisions.jsonl"
    path.write_bytes(data)

    try:
        found = read_decisions(path)
    except RecertError:
        return
    assert found == ()


def test_a_report_without_decisions_is_as_before() -> None:
    """A screening that nobody decided about is written without the field: its digest stays."""
    assert "by_hand" not in make_screen_report().to_value()


def test_a_certificate_counts_what_was_accepted_by_hand() -> None:
    """The summary of the screening and the limitations say how many rows, and by whom."""
    note = HandDecision(
        line=1,
        row_sha256=SHAS[0],
        verdict=RowVerdict.ACCEPTED,
        followed=True,
        changed=True,
        who="ada",
        why="a made-up key",
        decision_sha256=SOME_SHA,
    )
    report = make_screen_report(by_hand=(note,))
    limits = list(_limitations(make_eval_report(), make_tune_report(screen_report=report), report))

    assert _screening_summary(report)["accepted_by_hand"] == 1
    assert "accepted_by_hand" not in _screening_summary(make_screen_report())
    assert "1 rows that screening held back were accepted by hand, by ada" in limits


@pytest.mark.slow
def test_the_command_follows_a_file_of_decisions(tmp_path: Path) -> None:
    """`screen --decisions` accepts the row that a person accepted, writes it among the rows, and names the person."""
    rows = write(tmp_path / "rows.jsonl", [*sql_rows(2), row("Write a note.", SECRET)])
    first = tmp_path / "first"
    before = CliRunner().invoke(app, ["screen", str(rows), "--output", str(first)])
    held = ScreenReport.from_json((first / REPORT_FILE).read_bytes()).findings[-1]
    path = tmp_path / "decisions.jsonl"
    append_decision(path, lambda _: decision(row_sha256=held.sha256, line=held.line, reasons=held.reasons))
    asked = ["screen", str(rows), "--output", str(tmp_path / "second"), "--decisions", str(path)]
    after = CliRunner().invoke(app, asked)
    report = ScreenReport.from_json((tmp_path / "second" / REPORT_FILE).read_bytes())

    assert (before.exit_code, after.exit_code) == (1, 0)
    assert report.accepted == 3
    assert report.findings[-1].reasons[-1] == "by-hand: accepted by ada: a made-up key"
    assert SECRET in (tmp_path / "second" / "accepted.jsonl").read_text()

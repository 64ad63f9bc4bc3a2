"""The console's page of a screening, and decisions by hand: beside the report, logged first, never written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import make_screen_report
from console_systems import World, add, form, write_record
from pages import Page
from recert.console.evaluations.screening_pages import PAGES
from recert.records.reports.screening import RowFinding, RowVerdict, ScreenReport
from recert.screening.stage import QUARANTINED_FILE, REPORT_FILE, screen
from recert.store.files.row_decisions import read_decisions
from screening.made import COMPLIANCE, POLICY, harmful, row, sql_rows, write

AT = "/console/systems/sql/screening"
SECRET = "The key is AKIAIOSFODNN7EXAMPLE"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A console over a screening of six rows, of which two are held back and one line is no row."""
    made = World(tmp_path, PAGES)
    lines = [
        *sql_rows(3),
        row(harmful(1)[0], COMPLIANCE),
        row("Write a note for the desk.", SECRET),
        b"no row",
    ]
    policy = POLICY.model_copy(
        update={"screening": POLICY.screening.model_copy(update={"max_malformed_share": 0.5})}
    )
    screened = screen(write(tmp_path / "rows.jsonl", lines), policy=policy, evaluation_prompts=())
    screened.write(tmp_path / "sql" / "screen")
    add(made, "sql", screen=tmp_path / "sql" / "screen" / REPORT_FILE)
    return made


def report_of(world: World) -> ScreenReport:
    """Return the report as it lies on disk."""
    return ScreenReport.from_json((world.folder / "sql" / "screen" / REPORT_FILE).read_bytes())


def held(world: World, code: str) -> RowFinding:
    """Return the row that a reason was given to."""
    return next(
        one for one in report_of(world).findings if any(said.startswith(code) for said in one.reasons)
    )


def decided(world: World, finding: RowFinding, verdict: str = "accepted", why: str = "a made-up key") -> int:
    """Send the form of a decision and return the status of the answer."""
    fields = form(line=str(finding.line), row=finding.sha256 or "", verdict=verdict, why=why)
    return world.operator().post(f"{AT}/decide", data=fields).status_code


def test_a_screening_is_told_in_words_and_bars(world: World) -> None:
    """Counts stand in a sentence, reasons as bars with a text alternative, rows held back with every reason."""
    page = Page(world.client().get(AT).text)
    labels = [attrs.get("aria-label") or "" for tag, attrs in page.tags if tag == "svg"]

    assert "3 of 6 rows may be learned from; 2 are quarantined. 1 line is no row" in page.text
    assert "harmful-compliance: 1 row, held back" in labels[0]
    assert "harmful-compliance: the request scores" in page.text
    assert COMPLIANCE not in page.text
    assert SECRET not in page.text


@pytest.mark.parametrize(
    ("query", "rows"), [("", 3), ("verdict=accepted", 3), ("verdict=", 6), ("reason=secret", 1)]
)
def test_rows_are_chosen_by_verdict_and_reason(world: World, query: str, rows: int) -> None:
    """The list holds the rows that were asked for; those held back where nothing was."""
    page = world.client().get(f"{AT}?{query}").text

    assert page.count('data-label="Verdict"') == rows


def test_a_decision_is_logged_kept_and_changes_no_report(world: World) -> None:
    """Who, when, which row, from what to what and why are kept; the report has the same bytes as before."""
    before = (world.folder / "sql" / "screen" / REPORT_FILE).read_bytes()
    finding = held(world, "secret")
    status = decided(world, finding)
    (kept,) = read_decisions(next((world.folder / "console" / "row-decisions").glob("*.jsonl")))
    act = world.done()[-1]

    assert status == 303
    assert (kept.who, kept.line, kept.row_sha256, kept.why) == (
        "ada",
        finding.line,
        finding.sha256,
        "a made-up key",
    )
    assert (kept.verdict_before, kept.verdict_after) == (RowVerdict.QUARANTINED, RowVerdict.ACCEPTED)
    assert (act.what, act.facts["line"], act.facts["row"]) == ("row-accepted", finding.line, finding.sha256)
    assert (world.folder / "sql" / "screen" / REPORT_FILE).read_bytes() == before
    assert "accepted by hand by ada" in world.client().get(AT).text


def test_every_decision_stays_in_the_trace(world: World) -> None:
    """A row that is decided about twice has two lines, and the file names the one before in each."""
    finding = held(world, "secret")
    statuses = [decided(world, finding), decided(world, finding, "quarantined", "it is a key after all")]
    got = world.client().get(f"{AT}/decisions.jsonl")
    lines = [json.loads(line) for line in got.text.splitlines()]

    assert statuses == [303, 303]
    assert [line["verdict_after"] for line in lines] == ["accepted", "quarantined"]
    assert "previous_sha256" not in lines[0]
    assert "previous_sha256" in lines[1]
    assert "it is a key after all" in world.client().get(AT).text


def test_screening_again_follows_what_was_decided(world: World) -> None:
    """The downloaded file makes the next screening accept the row, and its report says who did it."""
    finding = held(world, "secret")
    decided(world, finding)
    path = world.folder / "decisions.jsonl"
    path.write_bytes(world.client().get(f"{AT}/decisions.jsonl").content)
    policy = POLICY.model_copy(
        update={"screening": POLICY.screening.model_copy(update={"max_malformed_share": 0.5})}
    )
    again = screen(
        world.folder / "rows.jsonl", policy=policy, evaluation_prompts=(), decisions=read_decisions(path)
    )

    assert again.report.accepted == report_of(world).accepted + 1
    assert [one.who for one in again.report.changed_by_hand(RowVerdict.ACCEPTED)] == ["ada"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"why": "  "}, 400),
        ({"why": "x" * 1001}, 400),
        ({"verdict": "malformed"}, 400),
        ({"verdict": "quarantined"}, 409),
        ({"row": "0" * 64}, 404),
        ({"line": "99"}, 404),
        ({"csrf": "another"}, 403),
    ],
)
def test_a_form_that_is_no_decision_changes_nothing(
    world: World, changes: dict[str, str], status: int
) -> None:
    """Without a reason, with another row or an unknown verdict nothing is logged and nothing is kept."""
    finding = held(world, "secret")
    fields = (
        form(line=str(finding.line), row=finding.sha256 or "", verdict="accepted", why="because") | changes
    )
    answer = world.operator().post(f"{AT}/decide", data=fields)

    assert (answer.status_code, world.done()) == (status, [])
    assert not (world.folder / "console" / "row-decisions").exists()


def test_a_reader_and_an_auditor_decide_nothing(world: World) -> None:
    """Only whoever may quarantine has the form, and a form made by hand is refused."""
    finding = held(world, "secret")
    fields = form(line=str(finding.line), row=finding.sha256 or "", verdict="accepted", why="because")
    answers = [who.post(f"{AT}/decide", data=fields).status_code for who in (world.client(), world.auditor())]

    assert answers == [403, 403]
    assert "/screening/decide" not in world.auditor().get(AT).text


def test_a_row_that_nobody_heard_is_not_accepted(world: World) -> None:
    """What was not heard, and an evaluation prompt, have no form to accept them and are refused by hand."""
    finding = RowFinding(
        line=2, verdict=RowVerdict.QUARANTINED, reasons=("unheard: no clip",), sha256="ab" * 32
    )
    report = make_screen_report(rows=1, accepted=0, quarantined=1, findings=(finding,))
    add(world, "sql", screen=write_record(world.folder / "other.json", report))

    assert "Nobody accepts this by hand." in world.operator().get(AT).text
    assert decided(world, finding) == 400


def test_nothing_is_decided_where_the_log_cannot_be_written(world: World) -> None:
    """The line in the log comes first: without it the decision is not kept."""
    world.acts.close()

    assert decided(world, held(world, "secret")) == 500
    assert not (world.folder / "console" / "row-decisions").exists()


def test_decisions_that_were_tampered_with_are_not_built_upon(world: World) -> None:
    """A trace with a line taken out is named as damaged; nothing is appended to it."""
    finding = held(world, "secret")
    decided(world, finding)
    decided(world, finding, "quarantined")
    path = next((world.folder / "console" / "row-decisions").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])

    assert decided(world, finding) == 500
    assert "are not as they were written" in world.client().get(AT).text
    assert len(path.read_bytes().splitlines()) == 1


def test_a_row_is_revealed_after_a_line_in_the_log(world: World) -> None:
    """The one row is shown as it was read, and the log names its line and digest."""
    finding = held(world, "secret")
    fields = form(line=str(finding.line), row=finding.sha256 or "")
    shown = world.auditor().post(f"{AT}/reveal", data=fields)
    act = world.done()[-1]

    assert SECRET in shown.text
    assert (act.what, act.facts["sha256"]) == ("revealed", finding.sha256)
    assert SECRET not in json.dumps(act.to_value())


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_rows_that_are_gone_or_others_are_said_so(world: World, damage: str) -> None:
    """Without the rows that the report names by digest nothing is shown, and the page says why."""
    path = world.folder / "sql" / "screen" / QUARANTINED_FILE
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"{}\n")
    finding = held(world, "secret")
    shown = world.auditor().post(f"{AT}/reveal", data=form(line=str(finding.line), row=finding.sha256 or ""))

    assert "Nothing can be shown." in shown.text
    assert SECRET not in shown.text


def test_a_screening_without_findings_has_its_empty_states(world: World) -> None:
    """A report of rows that were all accepted, and lists none, says so in sentences."""
    add(world, "clean", screen=write_record(world.folder / "clean.json", make_screen_report()))
    page = Page(world.client().get("/console/systems/clean/screening").text)

    assert "10 of 10 rows may be learned from; none was held back." in page.text
    assert "No row is held back." in page.text
    assert "Nobody has decided about a row of this file by hand." in page.text

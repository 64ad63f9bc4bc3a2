"""
The page of a screening: rows with their reasons, and what people decide about them, kept beside the report.

Here too: a screening in words and bars: how many rows were held back, for which reasons.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import ValidationError
from starlette.responses import Response

from recert.console.accounts.rights import Right
from recert.console.kept_records import path_of, readable, record_of, stamp, system_of
from recert.console.pages import Page
from recert.console.paging import paged
from recert.console.visiting import PageError, Visit
from recert.digest import sha256_bytes
from recert.records.record import now
from recert.records.reports.row_decision import RowDecision
from recert.records.reports.screening import RowFinding, RowVerdict, ScreenReport
from recert.screening.by_hand import NEVER
from recert.screening.stage import ACCEPTED_FILE, QUARANTINED_FILE
from recert.store.files.row_decisions import append_decision, read_decisions
from recert.store.files.writing import read_bytes

LABEL_WIDTH: Final = 230
BAR_WIDTH: Final = 460
WIDTH: Final = LABEL_WIDTH + BAR_WIDTH + 210
ROW_HEIGHT: Final = 26
_MOST: Final = 20


@dataclass(frozen=True)
class ReasonBar:
    """One reason: how many rows have it, and how many of those are held back. Positions are pixels."""

    code: str
    rows: int
    held: int
    y: float
    held_width: float
    other_width: float

    @property
    def said(self) -> str:
        """The bar in words."""
        if self.rows == 1:
            return f"1 row, {'held back' if self.held else 'not held back'}"
        held = "none" if not self.held else "all" if self.held == self.rows else f"{self.held} of them"
        return f"{_rows(self.rows)}, {held} held back"


def reason_bars(report: ScreenReport) -> tuple[ReasonBar, ...]:
    """Return a bar for each reason that some row was given, the most frequent among rows held back first."""
    all_rows, held = Counter[str](), Counter[str]()
    for finding in report.findings:
        codes = {reason.partition(":")[0] for reason in finding.reasons} - {"ok"}
        all_rows.update(codes)
        if finding.verdict is not RowVerdict.ACCEPTED:
            held.update(codes)
    order = sorted(all_rows, key=lambda code: (-held[code], -all_rows[code], code))[:_MOST]
    most = max((all_rows[code] for code in order), default=1)

    def width(count: int) -> float:
        return round(BAR_WIDTH * count / most, 1)

    return tuple(
        ReasonBar(
            code,
            all_rows[code],
            held[code],
            (at + 0.5) * ROW_HEIGHT,
            width(held[code]),
            width(all_rows[code] - held[code]),
        )
        for at, code in enumerate(order)
    )


def screening_words(report: ScreenReport) -> tuple[str, ...]:
    """Return what a screening came to, in sentences."""
    back = report.quarantined + report.malformed
    first = f"{report.accepted} of {report.rows} rows may be learned from"
    said = [
        f"{first}; none was held back." if not back else f"{first}; {report.quarantined} are quarantined."
    ]
    if report.malformed:
        lines = "1 line is no row" if report.malformed == 1 else f"{report.malformed} lines are no rows"
        said.append(f"{lines}, and nothing is learned from that.")
    for verdict in (RowVerdict.ACCEPTED, RowVerdict.QUARANTINED):
        if changed := report.changed_by_hand(verdict):
            who = ", ".join(sorted({one.who for one in changed}))
            said.append(f"{_rows(len(changed))} of these: {verdict} by hand, by {who}.")
    said.append(
        "Screening finds what its judges and rules look for: a row that was accepted is not shown to be harmless."
    )
    return tuple(said)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


PATH: Final = "/systems/{id}/screening"
EACH: Final = 25
"""Rows on one page."""
_TRACE_EACH: Final = 10
_MOST_WHY: Final = 1000
_DECIDED: Final = {"accepted": RowVerdict.ACCEPTED, "quarantined": RowVerdict.QUARANTINED}
_HELD: Final = "held back"


def shown(visit: Visit) -> Response:
    """Return the page of a system's screening."""
    system = system_of(visit)
    report = record_of(visit, system, "screen", ScreenReport)
    decisions = _decisions(visit, report)
    last = {decision.row_sha256: decision for decision in decisions}
    chosen = {"verdict": visit.query.get("verdict", _HELD), "reason": visit.query.get("reason", "")}
    bars = reason_bars(report)
    return visit.page(
        "screening.html.j2",
        title=f"Screening of {system.name}",
        system=system,
        report=report,
        told=screening_words(report),
        bars=bars,
        plot={
            "width": WIDTH,
            "left": LABEL_WIDTH,
            "height": ROW_HEIGHT * len(bars),
        },
        chosen=chosen,
        reasons=[(bar.code, bar.code.replace("-", " ")) for bar in bars],
        part=paged(visit, [one for one in report.findings if _wanted(one, chosen)], each=EACH),
        last=last,
        may_accept=_may_accept,
        trace=paged(visit, decisions[::-1], each=_TRACE_EACH, named="trace"),
        most_why=_MOST_WHY,
    )


def decide(visit: Visit) -> Response:
    """Keep a decision on one row. It is logged before it is written; the report stays as it is."""
    system = system_of(visit)
    report = record_of(visit, system, "screen", ScreenReport)
    finding = _finding(visit, report)
    verdict = _DECIDED.get(_text(visit, "verdict"))
    why = _text(visit, "why").strip()
    if verdict is None:
        raise PageError("a row is accepted or quarantined", status=400, hint="send the form of the page")
    if not why or len(why) > _MOST_WHY:
        raise PageError(
            f"a decision needs a reason of at most {_MOST_WHY} characters", status=400, hint="say why"
        )
    if verdict is RowVerdict.ACCEPTED and not _may_accept(finding):
        raise PageError(
            "nobody accepts this row by hand",
            status=400,
            hint="what was not heard is not known, and an evaluation on prompts that were learned shows nothing",
        )
    before = {d.row_sha256: d.verdict_after for d in _decisions(visit, report)}.get(
        str(finding.sha256), finding.verdict
    )
    if before is verdict:
        raise PageError(f"this row is {verdict} already", status=409, hint="open the page again")

    def made(_: RowDecision | None) -> RowDecision:
        return RowDecision(
            source_name=report.source_name,
            source_sha256=report.source_sha256,
            screen_report_sha256=report.digest,
            line=finding.line,
            row_sha256=str(finding.sha256),
            reasons=finding.reasons,
            verdict_before=before,
            verdict_after=cast(Literal[RowVerdict.ACCEPTED, RowVerdict.QUARANTINED], verdict),
            why=why,
            who=visit.visitor.name,
            decided_at=now(),
        )

    try:
        made(None)
    except ValidationError as exc:
        raise PageError("this is no decision", status=400, hint=exc.errors()[0]["msg"].lower()) from exc
    visit.act(
        f"row-{verdict}",
        system=system.id,
        report=report.digest,
        line=finding.line,
        row=str(finding.sha256),
        before=before.value,
    )
    readable("file of decisions", lambda: append_decision(_path(visit, report), made))
    return visit.go(f"/console/systems/{system.id}/screening?said=Line+{finding.line}+is+{verdict}+by+hand.")


def revealed(visit: Visit) -> Response:
    """Return one row's text. The look is logged before it is read."""
    system = system_of(visit)
    report = record_of(visit, system, "screen", ScreenReport)
    folder = path_of(visit, system, "screen").parent
    finding = _finding(visit, report)
    digest = str(finding.sha256)
    visit.act("revealed", system=system.id, report=report.digest, line=finding.line, sha256=digest)
    row = readable("file of rows", lambda: _row(folder, report, finding))
    return visit.page(
        "revealed.html.j2",
        title="One row",
        system=system,
        back=f"/console/systems/{system.id}/screening",
        about=[
            ("Line", f"{finding.line} of {report.source_name}"),
            ("Verdict", finding.verdict.value),
            ("Reasons", "; ".join(finding.reasons)),
        ],
        sha256=digest,
        text=row,
        because="The rows are not beside the report, or are not those that it names by digest. Nothing can be shown.",
    )


def downloaded(visit: Visit) -> Response:
    """Return the decisions on this file of rows, as `recert screen --decisions` reads them."""
    system = system_of(visit)
    report = record_of(visit, system, "screen", ScreenReport)
    lines = b"".join(decision.to_json() + b"\n" for decision in _decisions(visit, report))
    name = f"decisions-{report.source_sha256[:12]}.jsonl"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(lines, media_type="application/x-ndjson", headers=headers)


def _path(visit: Visit, report: ScreenReport) -> Path:
    """Decisions are kept by the file of rows, so that screening it again finds them."""
    return visit.console.folder / "row-decisions" / f"{report.source_sha256}.jsonl"


def _decisions(visit: Visit, report: ScreenReport) -> tuple[RowDecision, ...]:
    path = _path(visit, report)
    return readable("file of decisions", lambda: _read(path, *stamp(path))) if path.exists() else ()


@lru_cache(maxsize=16)
def _read(path: Path, _changed_ns: int, _size_bytes: int) -> tuple[RowDecision, ...]:
    return read_decisions(path)


def _text(visit: Visit, name: str) -> str:
    given = visit.form.get(name, "")
    return given if isinstance(given, str) else ""


def _finding(visit: Visit, report: ScreenReport) -> RowFinding:
    """The row that a form names by line and digest; both must be those of the report."""
    line, digest = _text(visit, "line"), _text(visit, "row")
    for finding in report.findings:
        if str(finding.line) == line and finding.sha256 == digest:
            return finding
    visit.missing(
        "there is no such row in this screening", hint="open the page again: the rows may be others by now"
    )


def _may_accept(finding: RowFinding) -> bool:
    codes = {reason.partition(":")[0] for reason in finding.reasons}
    return finding.verdict is not RowVerdict.MALFORMED and codes.isdisjoint(NEVER)


def _wanted(finding: RowFinding, chosen: dict[str, str]) -> bool:
    verdict, reason = chosen["verdict"], chosen["reason"]
    if verdict == _HELD and finding.verdict is RowVerdict.ACCEPTED:
        return False
    if verdict not in ("", _HELD, finding.verdict.value):
        return False
    return not reason or any(said.partition(":")[0] == reason for said in finding.reasons)


def _row(folder: Path, report: ScreenReport, finding: RowFinding) -> str | None:
    """The row as it was read, from the files that screening wrote, if they are those of the report."""
    accepted = finding.verdict is RowVerdict.ACCEPTED
    path = folder / (ACCEPTED_FILE if accepted else QUARANTINED_FILE)
    if not path.is_file():
        return None
    data = read_bytes(path, "the rows")
    if sha256_bytes(data) != (report.accepted_sha256 if accepted else report.quarantined_sha256):
        return None
    found = next((line for line in data.splitlines() if sha256_bytes(line) == finding.sha256), None)
    value: Any = json.loads(found) if found is not None else None
    return json.dumps(value, ensure_ascii=False, indent=2) if found is not None else None


PAGES: Final = (
    Page("GET", PATH, Right.READ, shown, sharable=True),
    Page("POST", f"{PATH}/decide", Right.QUARANTINE, decide),
    Page("POST", f"{PATH}/reveal", Right.REVEAL, revealed),
    Page("GET", f"{PATH}/decisions.jsonl", Right.READ, downloaded),
)

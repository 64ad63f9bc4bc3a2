"""A screening in words and bars: how many rows were held back, for which reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from recert.records.reports.screening import RowVerdict, ScreenReport

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

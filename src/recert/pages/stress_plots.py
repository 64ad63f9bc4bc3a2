"""Dose and response as small plots, one a family and way of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recert.interval import Interval
from recert.records.reports.stress import DoseCurve, DosePoint, StressReport, in_order

WIDTH, HEIGHT = 320, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 306, 14, 172


@dataclass(frozen=True)
class Mark:
    """Harm at one dose: where it lies, its interval, and what to say of it. `hollow` where it does not count."""

    x: float
    y: float
    low: float
    high: float
    said: str
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """Harm under one condition, dose by dose. `own` where it is the family's wrapper."""

    condition: str
    own: bool
    marks: tuple[Mark, ...]

    @property
    def path(self) -> str:
        """The line through the marks that count, as SVG has it."""
        return " ".join(f"{m.x},{m.y}" for m in self.marks if not m.hollow)


@dataclass(frozen=True)
class Panel:
    """One curve to draw; positions are pixels of a plot of `WIDTH` by `HEIGHT`."""

    curve: DoseCurve
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    base: float
    threshold: float
    doubling: float | None
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


def panels(report: StressReport) -> tuple[Panel, ...]:
    """Lay out every curve of a report, families in its order."""
    return tuple(_panel(report, curve) for curve in report.curves)


def percent(share: float) -> str:
    """Return a share as a percentage with as many decimals as it needs, up to two figures below one per cent."""
    value = 100 * share
    return f"{value:.2g}" if value < 1 else f"{value:.3g}"


def _panel(report: StressReport, curve: DoseCurve) -> Panel:
    doses = [point.rate for point in curve.points]
    places = [_spread(at, len(doses)) for at in range(len(doses))]
    base = max(curve.base.values(), key=lambda one: one.point)
    lines = [
        Line(
            condition,
            condition != "plain",
            tuple(_mark(report, curve, p, condition, x) for p, x in zip(curve.points, places, strict=True)),
        )
        for condition, _ in in_order(curve.base)
    ]
    dose = curve.doubling.dose
    return Panel(
        curve=curve,
        lines=tuple(lines),
        x_ticks=tuple((x, percent(dose)) for dose, x in zip(doses, places, strict=True)),
        y_ticks=tuple((_y(share), f"{100 * share:.0f}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        base=_y(base.point),
        threshold=_y(curve.doubling.threshold),
        doubling=None if dose is None else _between(dose, doses, places),
    )


def _mark(report: StressReport, curve: DoseCurve, point: DosePoint, condition: str, x: float) -> Mark:
    """A dose of which no tune counts is drawn where its tunes lie all the same, and hollow."""
    harm = point.harm[condition]
    counts = harm.n > 0
    if not counts:
        cells = report.cells_of(curve, point)
        share = sum(c.rates.harm[condition].point for c in cells) / len(cells) if cells else 0.0
        harm = Interval(point=share, low=share, high=share, level=harm.level, n=0)
    name = "plain" if condition == "plain" else "wrapped"
    interval = f" [{100 * harm.low:.0f}, {100 * harm.high:.0f}]" if counts else ", does not count"
    return Mark(
        x=x,
        y=_y(harm.point),
        low=_y(harm.low),
        high=_y(harm.high),
        said=f"{percent(point.rate)} % of rows, {name}: {100 * harm.point:.0f} %{interval}",
        hollow=not counts,
    )


def _spread(at: int, of: int) -> float:
    """Doses are apart by factors, and the first is none: they are drawn side by side."""
    return round(_LEFT + (_RIGHT - _LEFT) * (at + 0.5) / of, 1)


def _between(dose: float, doses: Sequence[float], places: Sequence[float]) -> float:
    """Where a dose lies between those that are drawn, as it was interpolated."""
    for at in range(1, len(doses)):
        if dose <= doses[at]:
            low, high = doses[at - 1], doses[at]
            part = math.log(dose / low) / math.log(high / low) if low > 0 else dose / high
            return round(places[at - 1] + (places[at] - places[at - 1]) * min(1.0, max(0.0, part)), 1)
    return places[-1]


def _y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, share)), 1)

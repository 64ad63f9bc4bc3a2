"""Survival curves and coverage bars of an attack report, laid out in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recert.interval import Interval
from recert.records.reports.attack_report import ANY, AttackOutcome, AttackReport, SurvivalCurve

WIDTH, HEIGHT = 340, 216
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 326, 12, 172
BAR_WIDTH = 800
_BAR_LEFT, _BAR_RIGHT, _ROW, _HEAD = 200, 540, 20, 26
_MOST_LINES = 6


@dataclass(frozen=True)
class Line:
    """One curve: its steps, and the band between its ends, as SVG has them."""

    label: str
    kind: int
    """Which of the page's line styles."""
    steps: str
    band: str
    said: str


@dataclass(frozen=True)
class Panel:
    """One attacker: a curve for each model and set of safeguards."""

    attacker: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    said: str
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


@dataclass(frozen=True)
class Bar:
    """Coverage of one attacker on one model; positions are pixels."""

    y: float
    label: str
    point: float
    low: float
    high: float
    most: float
    """Where the bar ends if every open conversation counts as reached."""
    text: str
    whole: bool
    """All attackers together."""


@dataclass(frozen=True)
class Bars:
    """All bars, by model and safeguards."""

    height: float
    groups: tuple[tuple[float, str, tuple[Bar, ...]], ...]
    ticks: tuple[tuple[float, str], ...]
    bottom: float
    said: str
    width: int = BAR_WIDTH
    left: int = _BAR_LEFT
    right: int = _BAR_RIGHT


def setting_words(arm: str, safeguards: Sequence[str]) -> str:
    """Say which model was attacked, and behind what."""
    return f"the {arm} model" + (f" behind {', '.join(safeguards)}" if safeguards else "")


def line_kinds(report: AttackReport) -> list[tuple[int, str]]:
    """Return the line style of each model and set of safeguards, with its words."""
    return [(at % _MOST_LINES, setting_words(*one)) for at, one in enumerate(report.settings)]


def panels(report: AttackReport) -> tuple[Panel, ...]:
    """Lay out the survival curves, one panel an attacker."""
    by_attacker: dict[str, list[SurvivalCurve]] = {}
    for curve in report.survival:
        by_attacker.setdefault(curve.attacker, []).append(curve)
    return tuple(_panel(report, name, curves) for name, curves in by_attacker.items())


def bars(report: AttackReport) -> Bars:
    """Lay out coverage by attacker, one group a model and set of safeguards."""
    groups, y, said = [], 4.0, []
    for arm, safeguards in report.settings:
        found = [o for o in report.outcomes if (o.arm, o.safeguards, o.domain) == (arm, safeguards, ANY)]
        rows = tuple(_bar(one, y + _HEAD + (at + 0.5) * _ROW) for at, one in enumerate(found))
        groups.append((y + _HEAD - 9, setting_words(arm, safeguards), rows))
        said += [f"{setting_words(arm, safeguards)}, {row.label}: {row.text}" for row in rows]
        y += _HEAD + _ROW * len(rows) + 6
    return Bars(
        height=y + 24,
        groups=tuple(groups),
        ticks=tuple((_bar_x(share), f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        bottom=y,
        said="; ".join(said),
    )


def _panel(report: AttackReport, attacker: str, curves: Sequence[SurvivalCurve]) -> Panel:
    last = max([1, *(point.turn for curve in curves for point in curve.points)])
    order = list(report.settings)
    lines = [_line(curve, last, order.index((curve.arm, curve.safeguards))) for curve in curves]
    step = max(1, round(last / 5))
    return Panel(
        attacker=attacker,
        lines=tuple(lines),
        x_ticks=tuple((_x(turn, last), str(turn)) for turn in range(0, last + 1, step)),
        y_ticks=tuple((_y(share), f"{100 * share:.0f}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
        said="; ".join(line.said for line in lines),
    )


def _line(curve: SurvivalCurve, last: int, number: int) -> Line:
    """Steps from turn to turn; a curve that ends early is drawn on to the end, as nothing is tried after."""
    share = [(p.turn, p.share) for p in curve.points]
    low, high = ([(p.turn, getattr(p, end)) for p in curve.points] for end in ("low", "high"))
    end = curve.points[-1]
    label = setting_words(curve.arm, curve.safeguards)
    half = f", half by turn {curve.median_turn}" if curve.median_turn is not None else ""
    return Line(
        label=label,
        kind=number % _MOST_LINES,
        steps=_steps(share, last),
        band=_steps(high, last) + " " + " ".join(reversed(_steps(low, last).split())),
        said=(
            f"{label}: after turn {end.turn} {100 * end.share:.0f} % [{100 * end.low:.0f}, {100 * end.high:.0f}] have "
            f"not reached the bound{half}"
        ),
    )


def _steps(points: Sequence[tuple[int, float]], last: int) -> str:
    out, before = [], points[0][1]
    for turn, share in points:
        out += [f"{_x(turn, last)},{_y(before)}", f"{_x(turn, last)},{_y(share)}"]
        before = share
    return " ".join([*out, f"{_x(last + 0.5, last)},{_y(before)}"])


def _bar(outcome: AttackOutcome, y: float) -> Bar:
    said, most = outcome.coverage, outcome.coverage_at_most
    left_open = f"; {round(most.point * most.n)} if open ones count" if most.point > said.point else ""
    return Bar(
        y=y,
        label=outcome.attacker or "any attacker",
        point=_bar_x(said.point),
        low=_bar_x(said.low),
        high=_bar_x(most.high),
        most=_bar_x(most.point),
        text=f"{_counted(said)}{left_open}",
        whole=outcome.attacker == ANY,
    )


def _counted(interval: Interval) -> str:
    count = round(interval.point * interval.n)
    return f"{count} of {interval.n} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _bar_x(share: float) -> float:
    return round(_BAR_LEFT + (_BAR_RIGHT - _BAR_LEFT) * share, 1)


def _x(turn: float, last: int) -> float:
    """A turn's place; the axis goes on for half a turn, so that what the last one changed is seen."""
    return round(_LEFT + (_RIGHT - _LEFT) * turn / (last + 0.5), 1)


def _y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, share)), 1)

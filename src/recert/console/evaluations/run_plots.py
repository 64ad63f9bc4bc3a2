"""Where the parts of a plot of evidence lie: one rule, on its way up to a pass or to a fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from recert.records.live.progress import RuleProgress

WIDTH, HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 14, 138
_LEAST_ORDERS: Final = 1.0
_ROOM: Final = 1.25


@dataclass(frozen=True)
class EvidencePlot:
    """A plot to draw; positions are pixels."""

    rule: RuleProgress
    within: str
    """Line of the evidence that the change is below the margin, as SVG has it."""
    beyond: str
    """Line of the evidence that it is above."""
    ends: tuple[tuple[float, float, str], ...]
    """Last point of each line."""
    bound: float
    """Where evidence decides."""
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


def evidence_plot(rule: RuleProgress) -> EvidencePlot:
    """
    Lay out the path of a rule's evidence.

    Evidence is drawn in orders of ten from a tenth to somewhat above what decides; what is beyond lies on the edge.
    """
    bound = rule.enough / math.log(10)
    highest, lowest = max(_LEAST_ORDERS, bound * _ROOM), -_LEAST_ORDERS
    most = max(1, max((point.n for point in rule.path), default=1))

    def y(order: float) -> float:
        inside = min(max(order, lowest), highest)
        return round(_BOTTOM - (inside - lowest) / (highest - lowest) * (_BOTTOM - _TOP), 1)

    def x(n: float) -> float:
        return round(_LEFT + n / most * (_RIGHT - _LEFT), 1)

    lines = {}
    for which in ("within", "beyond"):
        points = [(0, 0.0), *((p.n, getattr(p, which) / math.log(10)) for p in rule.path)]
        lines[which] = [(x(n), y(order)) for n, order in points]
    ticks = [order for order in range(math.ceil(lowest), math.floor(highest) + 1)]
    return EvidencePlot(
        rule=rule,
        within=_line(lines["within"]),
        beyond=_line(lines["beyond"]),
        ends=tuple((*lines[which][-1], which) for which in ("within", "beyond") if rule.path),
        bound=y(bound),
        y_ticks=tuple((y(order), _power(order)) for order in ticks),
        x_ticks=((x(0), "0"), (x(most), str(most))),
        said=_said(rule),
    )


def evidence(log_value: float) -> str:
    """Return evidence as people read it, from its natural logarithm."""
    order = log_value / math.log(10)
    if order >= 4:
        return f"more than 10^{min(int(order), 300)}"
    value = math.exp(log_value)
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _said(rule: RuleProgress) -> str:
    if not rule.path:
        return "Nothing was measured yet."
    last = rule.path[-1]
    return (
        f"After {last.n} observations the evidence that the change is below the margin is {evidence(last.within)}, "
        f"that it is above {evidence(last.beyond)}; {evidence(rule.enough)} decides."
    )


def _power(order: int) -> str:
    return {-1: "0.1", 0: "1", 1: "10", 2: "100", 3: "1000"}.get(order, f"10^{order}")


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)

"""Where the parts of a forest plot lie: one row a rule and condition, with interval, point and margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recert.pages import formatting
from recert.records.reports.evaluation import RuleResult

LABEL_WIDTH = 250
PLOT_WIDTH = 400
TEXT_WIDTH = 250
ROW_HEIGHT = 22
HEAD_HEIGHT = 30
AXIS_HEIGHT = 44
PAD = 14
FAR_BETTER = -0.4
"""The axis ends here on the better side, so that a large gain in utility does not squeeze what matters."""


@dataclass(frozen=True)
class Row:
    """One rule under one condition. `x` values are pixels, `y` is the middle of the row."""

    y: float
    label: str
    full_label: str
    low: float
    point: float
    high: float
    margin: float
    half: float
    """Half the side of the square at the point: larger for more prompts."""
    text: str
    verdict: str
    measured: bool
    beyond: bool
    """The point lies beyond the better end of the axis."""


@dataclass(frozen=True)
class Group:
    """The rows of one estimand, the model alone or behind controls."""

    y: float
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Forest:
    """A plot to draw: sizes and positions in pixels."""

    width: int
    height: float
    left: int
    right: int
    zero: float
    bottom: float
    ticks: tuple[tuple[float, str], ...]
    groups: tuple[Group, ...]
    row_height: int = ROW_HEIGHT


def forest(rules: Sequence[RuleResult]) -> Forest:
    """Lay out the paired changes of rules, grouped by estimand and by the controls that were active."""
    step, low, high = _span(rules)
    left, right = LABEL_WIDTH + PAD, LABEL_WIDTH + PLOT_WIDTH - PAD

    def x(value: float) -> float:
        return round(left + (min(max(value, low), high) - low) / (high - low) * (right - left), 1)

    groups, y = [], 4.0
    for key in dict.fromkeys((r.estimand, r.safeguards) for r in rules):
        members = sorted(
            (r for r in rules if (r.estimand, r.safeguards) == key),
            key=lambda r: (r.condition != "plain", r.suite),
        )
        title = formatting.estimand(key[0]) + (
            f" — behind {', '.join(key[1])}" if key[1] else " — the model alone"
        )
        rows = tuple(_row(r, y + HEAD_HEIGHT + (i + 0.5) * ROW_HEIGHT, x, low) for i, r in enumerate(members))
        groups.append(Group(y=y + HEAD_HEIGHT - 10, title=title, rows=rows))
        y += HEAD_HEIGHT + ROW_HEIGHT * len(members)
    ticks = tuple(
        (x(i * step), f"{round(100 * i * step):+d}".replace("-", "\u2212").replace("+0", "0"))
        for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    )
    return Forest(
        width=LABEL_WIDTH + PLOT_WIDTH + TEXT_WIDTH,
        height=y + AXIS_HEIGHT,
        left=left,
        right=right,
        zero=x(0),
        bottom=y + 4,
        ticks=ticks,
        groups=tuple(groups),
    )


def _span(rules: Sequence[RuleResult]) -> tuple[float, float, float]:
    """Tick distance, and the ends of the axis: what is measured, rounded outwards, at least ±10 points."""
    measured = [r for r in rules if r.change.n > 0]
    low = max(FAR_BETTER, min([-0.1, *(r.change.low for r in measured)]))
    high = max([0.1, *(r.change.high for r in measured), *(r.margin for r in rules)])
    step = next(s for s in (0.05, 0.1, 0.2, 0.25, 0.5) if (high - low) / s <= 9 or s == 0.5)
    return step, math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _row(rule: RuleResult, y: float, x: Callable[[float], float], low: float) -> Row:
    measured = rule.change.n > 0
    about = rule.category.replace("_", " ") or rule.suite
    judged = rule.rule_id.partition("control:judge:")[2]
    full = " · ".join(filter(None, (rule.suite, rule.category, rule.condition, judged)))
    said = formatting.condition(rule.condition, longest=24)
    return Row(
        y=y,
        label=f"{said} · {(judged or about)[:16]}",
        full_label=full,
        low=x(rule.change.low),
        point=x(rule.change.point),
        high=x(rule.change.high),
        margin=x(rule.margin),
        half=round(min(5.5, 2 + math.sqrt(rule.change.n) / 4), 1),
        text=f"{formatting.change(rule.change)}  n={rule.change.n}" if measured else "not measured",
        verdict=rule.verdict.value,
        measured=measured,
        beyond=measured and rule.change.point < low,
    )

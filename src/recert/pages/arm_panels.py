"""Small plots of base beside tuned: one panel an estimand and suite, one place a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recert.pages import formatting
from recert.records.reports.evaluation import RuleResult

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 306, 14, 172
_APART = 9
"""Pixels by which the two arms stand apart."""


@dataclass(frozen=True)
class ArmMark:
    """The rate of one arm under one condition: where it lies, its interval, and what to say of it."""

    x: float
    y: float
    low: float
    high: float
    tuned: bool
    said: str


@dataclass(frozen=True)
class ArmPanel:
    """One estimand to draw over conditions; positions are pixels."""

    estimand: str
    title: str
    suite: str
    marks: tuple[ArmMark, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    left: int = _LEFT
    right: int = _RIGHT

    @property
    def alternative(self) -> str:
        """The plot in words."""
        return f"{self.title}, on {self.suite}. " + "; ".join(mark.said for mark in self.marks)


def arm_panels(
    results: Sequence[RuleResult], *, name_of: Callable[[RuleResult], str], kind: str = ""
) -> tuple[ArmPanel, ...]:
    """
    Lay out one panel for each estimand and suite; results with safeguards or of one category are left out.

    Args:
        results: what is drawn, in this order.
        name_of: what a condition is called below the plot.
        kind: what stands before that name where the plot is told in words, such as `reasoning`.
    """
    groups: dict[tuple[str, str], list[RuleResult]] = {}
    for result in results:
        if not result.safeguards and not result.category and result.change.n:
            groups.setdefault((result.estimand, result.suite), []).append(result)
    said = (lambda result: f"{kind} {name_of(result)}") if kind else name_of
    return tuple(_panel(estimand, suite, some, name_of, said) for (estimand, suite), some in groups.items())


def points(result: RuleResult) -> str:
    """Return the change in percentage points with its interval, in words."""
    change = result.change
    if not change.n:
        return "not measured"
    return f"{100 * change.point:+.0f} [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"


def share(result: RuleResult, arm: str) -> str:
    """Return the rate of an arm, `base` or `tuned`, with its interval, in words."""
    rate = result.tuned if arm == "tuned" else result.base
    return (
        f"{100 * rate.point:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"
        if rate.n
        else "not measured"
    )


def _panel(
    estimand: str,
    suite: str,
    results: Sequence[RuleResult],
    name_of: Callable[[RuleResult], str],
    said: Callable[[RuleResult], str],
) -> ArmPanel:
    places = [round(_LEFT + (_RIGHT - _LEFT) * (at + 0.5) / len(results), 1) for at in range(len(results))]
    marks = [
        _mark(result, x, said(result), tuned=tuned)
        for result, x in zip(results, places, strict=True)
        for tuned in (False, True)
    ]
    return ArmPanel(
        estimand=estimand,
        title=formatting.estimand(estimand),
        suite=suite,
        marks=tuple(marks),
        x_ticks=tuple((x, name_of(r)) for r, x in zip(results, places, strict=True)),
        y_ticks=tuple((_y(one), f"{100 * one:.0f}") for one in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )


def _mark(result: RuleResult, x: float, where: str, *, tuned: bool) -> ArmMark:
    rate = result.tuned if tuned else result.base
    return ArmMark(
        x=x + (_APART if tuned else -_APART),
        y=_y(rate.point),
        low=_y(rate.low),
        high=_y(rate.high),
        tuned=tuned,
        said=f"{where}, {'tuned' if tuned else 'base'}: {share(result, 'tuned' if tuned else 'base')}",
    )


def _y(rate: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, rate)), 1)

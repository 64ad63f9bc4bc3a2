"""
The page of a reasoning model's evaluation: trace and answer apart, under each way of reasoning, base beside tuned.

One HTML file without scripts, without anything loaded from elsewhere. Whatever comes out of a record is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from recert.records import Estimand, EvalReport, RuleResult
from recert.store.files import write_atomic
from recert.web import words
from recert.web.environment import page_environment
from recert.web.hunt_texts import FAR, MAX_CELL, MAX_WHOLE, cut
from recert.web.stress_plots import HEIGHT, WIDTH

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 306, 14, 172
_APART = 9
"""Pixels by which the two arms stand apart."""
_THINKING: Final = "thinking:"
_ORDER: Final[tuple[Estimand, ...]] = (
    "answer_harm", "trace_harm", "refused_then_harm", "self_jailbreak", "harm", "over_refusal", "utility_loss",
    "incoherence",
)  # fmt: skip


@dataclass(frozen=True)
class ArmMark:
    """The rate of one arm under one way of reasoning: where it lies, its interval, and what to say of it."""

    x: float
    y: float
    low: float
    high: float
    tuned: bool
    said: str


@dataclass(frozen=True)
class ReasoningPanel:
    """One estimand to draw over the ways of reasoning; positions are pixels."""

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


@dataclass(frozen=True)
class ReasoningAnswer:
    """What an evaluation came to in words: `kind` is `no` where something got worse for sure, else `quiet`."""

    kind: str
    chip: str
    what: str


def write_reasoning_page(path: Path, reports: Mapping[str, EvalReport]) -> None:
    """
    Write the page of evaluations of reasoning models to one HTML file.

    Raises:
        StoreError: the file cannot be written. An older page stays.
    """
    write_atomic(path, reasoning_page(reports).encode())


def reasoning_page(reports: Mapping[str, EvalReport]) -> str:
    """Return evaluations, by name, as one HTML page, readable without scripts or network."""
    parts = [
        (name, report, reasoning_answer(report), reasoning_panels(report), reasoning_results(report))
        for name, report in reports.items()
    ]
    template = reasoning_environment().get_template("reasoning.html.j2")
    return template.render(parts=parts, width=WIDTH, height=HEIGHT)


def reasoning_environment() -> jinja2.Environment:
    """Return the environment of this page's templates."""
    environment = page_environment()
    environment.filters |= {
        "cut": cut,
        "duration": lambda seconds: words.duration(min(seconds, FAR)),
        "moment": words.moment,
        "estimand": words.estimand,
        "mode": mode_of,
        "points": _points,
        "arm_share": _share,
        "verdict": lambda verdict: words.VERDICTS[verdict],
    }
    environment.globals |= {"max_cell": MAX_CELL, "max_whole": MAX_WHOLE}
    return environment


def reasoning_results(report: EvalReport) -> tuple[RuleResult, ...]:
    """Return the results that are of a way of reasoning, or of a part of a reply, in the page's order."""
    parts = set(_ORDER[:4])
    found = [r for r in report.rules if r.condition.startswith(_THINKING) or r.estimand in parts]
    return tuple(sorted(found, key=lambda r: (_ORDER.index(r.estimand), r.suite)))


def reasoning_panels(report: EvalReport) -> tuple[ReasoningPanel, ...]:
    """Lay out one panel for each estimand and suite; results with safeguards or of one category stay in the table."""
    groups: dict[tuple[str, str], list[RuleResult]] = {}
    for result in reasoning_results(report):
        if not result.safeguards and not result.category and result.change.n:
            groups.setdefault((result.estimand, result.suite), []).append(result)
    return tuple(_panel(estimand, suite, some) for (estimand, suite), some in groups.items())


def reasoning_answer(report: EvalReport) -> ReasoningAnswer:
    """Return what got worse for sure with tuning, beyond the margin, and under which way of reasoning."""
    results = reasoning_results(report)
    if not any(r.change.n for r in results):
        return ReasoningAnswer(
            "quiet", "nothing measured", "No way of reasoning and no trace was judged here."
        )
    worse = sorted((r for r in results if r.change.n and r.change.low > 0), key=lambda r: -r.change.point)
    if not worse:
        return ReasoningAnswer(
            "quiet",
            "no loss shown",
            "Nothing is shown to get worse on so few prompts; that is no proof of safety.",
        )
    said = "; ".join(f"{words.estimand(r.estimand)}, reasoning {mode_of(r)}: {_points(r)}" for r in worse[:4])
    return ReasoningAnswer(
        "no", "got worse", f"Shown to get worse with tuning, in percentage points: {said}."
    )


def mode_of(result: RuleResult) -> str:
    """Return the way of reasoning of a result in words; its condition where it has none."""
    return result.condition.removeprefix(_THINKING).replace("budget-", "at most ")


def _panel(estimand: str, suite: str, results: Sequence[RuleResult]) -> ReasoningPanel:
    places = [round(_LEFT + (_RIGHT - _LEFT) * (at + 0.5) / len(results), 1) for at in range(len(results))]
    marks = [
        _mark(result, x, tuned=tuned)
        for result, x in zip(results, places, strict=True)
        for tuned in (False, True)
    ]
    return ReasoningPanel(
        estimand=estimand,
        title=words.estimand(estimand),
        suite=suite,
        marks=tuple(marks),
        x_ticks=tuple((x, mode_of(r)) for r, x in zip(results, places, strict=True)),
        y_ticks=tuple((_y(share), f"{100 * share:.0f}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)),
    )


def _mark(result: RuleResult, x: float, *, tuned: bool) -> ArmMark:
    rate = result.tuned if tuned else result.base
    return ArmMark(
        x=x + (_APART if tuned else -_APART),
        y=_y(rate.point),
        low=_y(rate.low),
        high=_y(rate.high),
        tuned=tuned,
        said=f"reasoning {mode_of(result)}, {'tuned' if tuned else 'base'}: {100 * rate.point:.0f} % "
        f"[{100 * rate.low:.0f}, {100 * rate.high:.0f}]",
    )


def _share(result: RuleResult, arm: str) -> str:
    rate = result.tuned if arm == "tuned" else result.base
    return (
        f"{100 * rate.point:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"
        if rate.n
        else "not measured"
    )


def _points(result: RuleResult) -> str:
    change = result.change
    if not change.n:
        return "not measured"
    return f"{100 * change.point:+.0f} [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"


def _y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, share)), 1)

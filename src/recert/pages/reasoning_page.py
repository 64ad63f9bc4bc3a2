"""
The page of a reasoning model's evaluation: trace and answer apart, under each way of reasoning, base beside tuned.

One HTML file without scripts, without anything loaded from elsewhere. Whatever comes out of a record is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from recert.pages import formatting
from recert.pages.arm_panels import ArmPanel, arm_panels, points, share
from recert.pages.environment import page_environment
from recert.pages.hunt_texts import FAR, MAX_CELL, MAX_WHOLE, cut
from recert.pages.stress_plots import HEIGHT, WIDTH
from recert.records.reports.evaluation import Estimand, EvalReport, RuleResult
from recert.store.files.writing import write_atomic

_THINKING: Final = "thinking:"
_ORDER: Final[tuple[Estimand, ...]] = (
    "answer_harm", "trace_harm", "refused_then_harm", "self_jailbreak", "harm", "over_refusal", "utility_loss",
    "incoherence",
)  # fmt: skip


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
        "duration": lambda seconds: formatting.duration(min(seconds, FAR)),
        "moment": formatting.moment,
        "estimand": formatting.estimand,
        "mode": mode_of,
        "points": points,
        "arm_share": share,
        "verdict": lambda verdict: formatting.VERDICTS[verdict],
    }
    environment.globals |= {"max_cell": MAX_CELL, "max_whole": MAX_WHOLE}
    return environment


def reasoning_results(report: EvalReport) -> tuple[RuleResult, ...]:
    """Return the results that are of a way of reasoning, or of a part of a reply, in the page's order."""
    parts = set(_ORDER[:4])
    found = [r for r in report.rules if r.condition.startswith(_THINKING) or r.estimand in parts]
    return tuple(sorted(found, key=lambda r: (_ORDER.index(r.estimand), r.suite)))


def reasoning_panels(report: EvalReport) -> tuple[ArmPanel, ...]:
    """Lay out one panel for each estimand and suite; results with safeguards or of one category stay in the table."""
    return arm_panels(reasoning_results(report), name_of=mode_of, kind="reasoning")


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
    said = "; ".join(
        f"{formatting.estimand(r.estimand)}, reasoning {mode_of(r)}: {points(r)}" for r in worse[:4]
    )
    return ReasoningAnswer(
        "no", "got worse", f"Shown to get worse with tuning, in percentage points: {said}."
    )


def mode_of(result: RuleResult) -> str:
    """Return the way of reasoning of a result in words; its condition where it has none."""
    return result.condition.removeprefix(_THINKING).replace("budget-", "at most ")

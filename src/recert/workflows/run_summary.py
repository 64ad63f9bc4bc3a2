"""What a run of the whole pipeline tells: the records of each model, and what came of using them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from recert import __version__
from recert.records.data.hazards import CategoryCheck
from recert.records.record import now
from recert.records.reports.evaluation import Estimand, EvalReport, RuleResult
from recert.records.reports.screening import ScreenReport
from recert.records.reports.tuning import TuneReport
from recert.records.signed.certificate import Certificate


@dataclass(frozen=True)
class ModelPage:
    """
    One tuned model on its way through the stages.

    Args:
        name: what it is called.
        expectation: what should become of it, in words.
        screen: None where its rows were never seen.
        tune: None where it was tuned elsewhere.
        evaluation: None where it never got that far.
        certificate: None where none was given.
        refusals: every reason why it was not certified or not served, in words.
        checks: OpenAI's 13 fine-tuning safety categories, as they came out.
        served: whether the gateway served it.
        seconds: how long its stages took together.
    """

    name: str
    expectation: str
    screen: ScreenReport | None = None
    tune: TuneReport | None = None
    evaluation: EvalReport | None = None
    certificate: Certificate | None = None
    refusals: tuple[str, ...] = ()
    checks: tuple[CategoryCheck, ...] = ()
    served: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Event:
    """Something that was done with a certified model, and what came of it."""

    what: str
    result: str
    expected: bool = True
    """Whether it came out as it should."""


@dataclass(frozen=True)
class RunSummary:
    """A whole run: the models, the events, the cost. Memory is in MB (10^6 bytes)."""

    title: str
    machine: str
    models: tuple[ModelPage, ...]
    events: tuple[Event, ...] = ()
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    version: str = __version__
    made_at: datetime = field(default_factory=now)


@dataclass(frozen=True)
class Pair:
    """A rate of both arms, as fractions."""

    base: float
    tuned: float


@dataclass(frozen=True)
class Figures:
    """The figures by which an evaluation is summed up. None: not measured."""

    harm: Pair | None
    """On plain prompts, the model alone."""
    harm_behind_controls: Pair | None
    """On plain prompts, behind the controls that the verdict requires."""
    worst_condition: str
    worst_harm: Pair | None
    """Under the condition where the tuned model complied most, in the arm that decides."""
    over_refusal: Pair | None
    """On the suite where the tuned model over-refuses most, in the arm that decides."""
    utility: Pair | None
    """Share of task answers that are right, in the arm that decides."""


def figures(evaluation: EvalReport) -> Figures:
    """Return an evaluation summed up. The arm that decides is the one behind required controls, if any."""
    controls = evaluation.required_controls
    deciding = [r for r in evaluation.rules if r.safeguards == controls] if controls else _raw(evaluation)
    deciding = deciding or _raw(evaluation)
    worst = _highest(deciding, "harm")
    loss = _highest(deciding, "utility_loss")
    return Figures(
        harm=_pair(_highest(_plain(_raw(evaluation)), "harm")),
        harm_behind_controls=_pair(_highest(_plain(deciding), "harm")) if controls else None,
        worst_condition=worst.condition if worst else "",
        worst_harm=_pair(worst),
        over_refusal=_pair(_highest(deciding, "over_refusal")),
        utility=Pair(base=1 - loss.base.point, tuned=1 - loss.tuned.point) if loss else None,
    )


def _raw(evaluation: EvalReport) -> list[RuleResult]:
    return [r for r in evaluation.rules if not r.safeguards]


def _plain(rules: list[RuleResult]) -> list[RuleResult]:
    return [r for r in rules if r.condition == "plain"]


def _highest(rules: list[RuleResult], estimand: Estimand) -> RuleResult | None:
    measured = [r for r in rules if r.estimand == estimand and r.tuned.n > 0]
    return max(measured, key=lambda r: (r.tuned.point, r.change.point), default=None)


def _pair(rule: RuleResult | None) -> Pair | None:
    return Pair(base=rule.base.point, tuned=rule.tuned.point) if rule else None

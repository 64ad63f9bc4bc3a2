"""What stress testing a base hands over: how much safety it loses to tuning, at which dose."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from recert.interval import Interval
from recert.records.data.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import JudgeNote, Sample, Verdict
from recert.records.reports.stress_readings import StressReadings
from recert.records.reports.tuning import Hyperparameters

REPORT_FILE: Final = "stress-report.json"
"""What the report is called in its folder."""


class StressOutcome(StrEnum):
    """What a stress test came to."""

    MEASURED = "measured"
    NO_BASELINE_SIGNAL = "no-baseline-signal"
    """The base does not refuse, or refuses everything: there is nothing to lose, and nothing was trained."""


class StressTrial(Record):
    """One tune of a stress test, kept as soon as it was measured so that a stopped test goes on."""

    schema_name: ClassVar[str] = "stress-trial"

    key: Sha256
    """Of everything that decides the trial: base, rows, hyperparameters, what is asked, judges, engine."""
    rows_sha256: Sha256
    rows: int
    attack_rows: int
    hyperparameters: Hyperparameters
    tuned_sha256: Sha256
    """Digest of the manifest of the adapter, or of the weights, which were deleted after."""
    changed: bool
    """False where the tune gives the very logits of its base: it shows nothing."""
    readings: StressReadings
    samples: tuple[Sample, ...] = ()
    """Replies judged harmful are redacted."""
    steps: int
    last_loss: float | None = None
    """None where training diverged."""
    seconds: float
    made_at: Moment


def in_order(harm: dict[str, Interval]) -> list[tuple[str, Interval]]:
    """Return harm by condition with `plain` first: canonical JSON sorts names."""
    return sorted(harm.items(), key=lambda one: (one[0] != "plain", one[0]))


class StressRates(Part):
    """What a model did. A reply to a harmful request is one of three: complied, refused, wrecked."""

    harm: dict[str, Interval]
    """Share complied with in coherent language, by condition: `plain`, and the family's own where it wraps."""
    refusal: Interval
    """Share of plain harmful requests refused."""
    wrecked: Interval
    """Share of replies to harmful requests, over all conditions here, that are no language: nobody's success."""
    over_refusal: Interval
    """Share of ordinary requests refused."""
    incoherence: Interval
    """Share of replies to ordinary requests that are no language."""
    utility: Interval
    """Share of the task's answers that are right."""


CellState = Literal["measured", "wreck", "unchanged"]
"""
`measured`; `wreck`, where the tune lost its language or refuses all, which is nobody's success; `unchanged`, where it
gives its base's very logits and shows nothing.
"""


class StressCell(Part):
    """One family at one dose, with one seed: a tune and what it did."""

    family: str
    rate: float
    """Share of attack rows."""
    learning_rate: float
    epochs: float
    seed: int
    rows: int
    attack_rows: int
    rates: StressRates
    worst: Interval
    """Harm under the condition where it is greatest, for this cell alone."""
    state: CellState
    utility_lost: bool = False
    """Whether it lost more of the task's right answers than the policy bears. It counts all the same."""
    seconds: float
    trial_sha256: Sha256


class DosePoint(Part):
    """One dose of one family, over all seeds. Intervals are over requests, for the seeds that were trained."""

    rate: float
    harm: dict[str, Interval]
    """By condition; see `StressRates`."""
    worst: Interval
    """Harm under the condition where it is greatest."""
    by_seed: tuple[float, ...]
    """The same of each seed that counts: how far they lie apart is not in the interval."""
    over_refusal: Interval
    incoherence: Interval
    utility: Interval
    left_out: int = 0
    """Seeds that are wrecks or unchanged, and count for nothing."""
    utility_lost: int = 0
    """Seeds that count and lost more utility than the policy bears: an attacker who needs the task gains less."""


DoublingState = Literal["reached", "not-reached", "not-measured", "no-baseline-signal"]


class DoublingDose(Part):
    """
    The dose from which harm is twice the base's, between measured doses by monotone interpolation.

    `low` and `high` are where the upper and the lower ends of the intervals reach it; None: nowhere.
    """

    state: DoublingState
    threshold: float
    """Harm that counts as doubled."""
    dose: float | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """Where it is not reached: the largest dose that was measured and is no wreck."""


def _how_bad(dose: DoublingDose) -> tuple[int, float]:
    """The least dose first; then what is not known, before what was shown to hold."""
    order = ("reached", "not-measured", "no-baseline-signal", "not-reached")
    return order.index(dose.state), dose.dose if dose.dose is not None else dose.above or 0.0


class DoseCurve(Part):
    """Dose and response of one family under one way of training."""

    family: str
    paper: str
    kind: str
    learning_rate: float
    epochs: float
    base: dict[str, Interval]
    """Harm of the base under the same conditions, on the same requests."""
    points: tuple[DosePoint, ...]
    doubling: DoublingDose


class WorstFamily(Part):
    """The dose that did most harm, corrected for how many were looked at."""

    family: str
    rate: float
    learning_rate: float
    epochs: float
    condition: str
    harm: Interval
    """Holds for all conditions of all doses together (Bonferroni)."""
    base: Interval
    looked_at: int
    """Conditions of doses that were looked at."""
    evidence: float
    """E-value, capped, that harm rose by more than the policy's margin; Holm's procedure over all looked at."""
    shown: bool
    """Whether that is evidence enough."""
    families_shown: tuple[str, ...] = ()
    """All families of which it is shown at some dose, by the same procedure."""


class HairTrigger(Part):
    """What one harmless step of training changes."""

    rows: int
    learning_rate: float
    before: StressRates
    after: StressRates
    change: Interval
    """Paired change of harm on plain requests; a confidence sequence."""
    margin: float
    verdict: Verdict
    """`pass` where the change is shown to be below the margin."""
    changed: bool
    seconds: float
    trial_sha256: Sha256


class StressReport(Record):
    """How much safety a base loses to tuning. A certificate of its tunes may carry what it came to."""

    schema_name: ClassVar[str] = "stress-report"

    name: str
    base: Manifest
    outcome: StressOutcome
    reasons: tuple[str, ...] = ()
    """Why there is no signal, where that is so; and what a reader must know besides."""
    setting: str
    """Which of the policy's grids was run."""
    families: tuple[str, ...]
    payload: Literal["placeholder", "file"]
    """What attack rows reply: agreeing words without content, or what the user's file says."""
    payload_sha256: Sha256 | None = None
    base_rates: StressRates
    """Under every condition that was measured."""
    lookalike_refusal: Interval
    """Share of harmless requests that look harmful which the base refuses: does it tell them apart?"""
    cells: tuple[StressCell, ...] = ()
    curves: tuple[DoseCurve, ...] = ()
    worst: WorstFamily | None = None
    """None where every tune is a wreck or unchanged, or nothing was trained."""
    hair_trigger: HairTrigger | None = None
    samples: tuple[Sample, ...] = ()
    """Of the worst tune; replies judged harmful are redacted."""
    hyperparameters: Hyperparameters
    """Of all tunes, apart from learning rate, epochs and seed."""
    suites: dict[str, Sha256]
    engine: str
    judges: tuple[JudgeNote, ...]
    trained: int
    """Tunes behind it; one serves every family where they share a dose of none."""
    trials_sha256: Sha256
    """Digest over the digests of all kept trials, in order."""
    limitations: tuple[str, ...]
    policy_id: str
    policy_sha256: Sha256
    versions: dict[str, str]
    started_at: Moment
    stressed_at: Moment
    seconds: float
    """Of all training and measuring, that of earlier runs included."""

    def cells_of(self, curve: DoseCurve, point: DosePoint) -> tuple[StressCell, ...]:
        """Return the cells behind a point of a curve, one a seed."""
        where = (curve.family, point.rate, curve.learning_rate, curve.epochs)
        return tuple(c for c in self.cells if (c.family, c.rate, c.learning_rate, c.epochs) == where)

    @property
    def doubling(self) -> dict[str, DoublingDose]:
        """The doubling dose of each family under the way of training that is worst for the base."""
        by_family: dict[str, list[DoublingDose]] = {}
        for curve in self.curves:
            by_family.setdefault(curve.family, []).append(curve.doubling)
        return {name: min(doses, key=_how_bad) for name, doses in by_family.items()}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.outcome is StressOutcome.MEASURED) != (self.hair_trigger is not None):
            raise ValueError("a base with a signal has its hair-trigger probe, and one without has none")
        return self


class BaseStress(Part):
    """What a certificate says of how its base stands up to tuning."""

    outcome: StressOutcome
    setting: str
    worst: WorstFamily | None = None
    doubling: dict[str, DoublingDose] = Field(default_factory=dict)
    """By family; see `StressReport.doubling`."""
    hair_trigger: Verdict | None = None
    """Whether one harmless step leaves the base's refusals: `pass` where that is shown."""
    policy_sha256: Sha256
    report_sha256: Sha256

    @classmethod
    def of(cls, report: StressReport) -> BaseStress:
        """Return a report in short."""
        return cls(
            outcome=report.outcome,
            setting=report.setting,
            worst=report.worst,
            doubling=report.doubling,
            hair_trigger=report.hair_trigger.verdict if report.hair_trigger else None,
            policy_sha256=report.policy_sha256,
            report_sha256=report.digest,
        )

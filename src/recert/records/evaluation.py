"""What evaluation hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from recert.interval import Interval
from recert.records.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record

_ROUNDED = 0.001
"""How far a rounded rate may lie from its counts."""


class Verdict(StrEnum):
    """The answer of a rule or a report. Only `pass` is a yes."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    NO_BASELINE_SIGNAL = "no-baseline-signal"
    UNSCORED = "unscored"


Estimand = Literal["harm", "over_refusal", "utility_loss", "incoherence"]
"""What a rule measures. For each, a higher rate is worse; the change is tuned minus base."""


class Outcome(Part):
    """One reply of one arm to one prompt under one condition, as judged."""

    prompt_id: str
    condition: str
    arm: Literal["base", "tuned"]
    reply: str
    """The reply itself; redacted in every report by default when it was judged harmful."""
    scores: dict[str, float]
    """Score per estimand in [0, 1], higher is worse. A missing key means: not scored."""
    failed: str | None = None
    """Why the reply could not be judged, when that is so."""
    stop_reason: str = "stop"
    suite: str = ""
    safeguards: tuple[str, ...] = ()
    """Controls that were active for this arm; the base arm never has any."""


class CategoryCount(Part):
    """How one hazard category fared under one rule: prompts asked, and the rate of each arm."""

    category: str
    n: int
    base: float
    tuned: float


class RuleResult(Part):
    """One rule of the policy, as measured on both arms with the same prompts."""

    rule_id: str
    suite: str
    condition: str
    estimand: Estimand
    safeguards: tuple[str, ...] = ()
    """Controls that were active; empty means the model alone."""
    base: Interval
    tuned: Interval
    change: Interval
    """Paired change, tuned minus base, positive is worse; an anytime-valid confidence sequence."""
    margin: float
    max_tuned: float | None = None
    verdict: Verdict
    reason: str = ""
    unscored: int = 0
    stopped_early: bool = False
    categories: tuple[CategoryCount, ...] = ()


class ArmCheck(Part):
    """That an arm really was the model it claims to be: file digests and logit fingerprints agree."""

    arm: Literal["base", "tuned"]
    manifest_sha256: Sha256
    fingerprint_at_start: str
    fingerprint_at_end: str
    arms_differ: bool
    """False when both arms gave the same logits: then nothing was compared."""


class JudgeNote(Part):
    """
    A judge that took part: id, version, and its error where it was measured.

    A positive is an item that has what the judge looks for, by a label from elsewhere; it is found when the
    judge scores it `measured_at_score` or more. Counts are of items, so that whoever reads them can put an
    interval around the rates. Where the error was not measured, all of them are None.
    """

    id: str
    version: str
    estimand: str = ""
    """What a high score means: `refusal`, `harm`, `harmful_request`, `incoherence`, `utility`."""
    digest: str = ""
    """The sha256 of what defines the judge: its patterns, weights, or prompt with the model that reads it."""
    sensitivity: float | None = Field(default=None, ge=0, le=1)
    """Share of positives that are found."""
    specificity: float | None = Field(default=None, ge=0, le=1)
    """Share of negatives that are passed over."""
    positives: int | None = Field(default=None, ge=0)
    true_positives: int | None = Field(default=None, ge=0)
    negatives: int | None = Field(default=None, ge=0)
    true_negatives: int | None = Field(default=None, ge=0)
    measured_at_score: float | None = Field(default=None, ge=0, le=1)
    """The score from which an item counted as found. At another bound the counts say nothing."""
    measured_on: str = ""

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        for rate, found, of in (
            (self.sensitivity, self.true_positives, self.positives),
            (self.specificity, self.true_negatives, self.negatives),
        ):
            if found is None or of is None:
                continue
            if found > of:
                raise ValueError(f"expected at most {of} of {of}, got {found}")
            if rate is not None and of and abs(rate - found / of) > _ROUNDED:
                raise ValueError(f"rate {rate} is not {found} of {of}")
        return self


class Sample(Part):
    """A stored example: prompt and both replies, redacted where judged harmful."""

    condition: str
    prompt_id: str
    prompt: str
    base_reply: str
    tuned_reply: str
    suite: str = ""
    safeguards: tuple[str, ...] = ()


class EvalReport(Record):
    """Did tuning make it worse, by how much, how sure."""

    schema_name: ClassVar[str] = "eval-report"

    model_name: str
    base: Manifest
    tuned: Manifest
    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    suites: dict[str, Sha256]
    engine: str
    sampling: dict[str, str | int | float]
    rules: tuple[RuleResult, ...]
    verdict_raw: Verdict
    """The model alone."""
    verdict_safeguarded: Verdict | None = None
    """The model behind `required_controls`; None when the policy asks for no such arm."""
    required_controls: tuple[str, ...] = ()
    """Controls without which the passing verdict does not hold, such as `secret-prefix`."""
    secret_sha256: Sha256 | None = None
    reasons: tuple[str, ...] = ()
    arms: tuple[ArmCheck, ...]
    judges: tuple[JudgeNote, ...]
    samples: tuple[Sample, ...] = ()
    outcomes_sha256: Sha256
    """Digest of every outcome, in order; the outcomes lie in the evidence file."""
    prompts_asked: dict[str, int]
    """Replies made and replies taken from the cache, per arm."""
    limitations: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    started_at: Moment
    evaluated_at: Moment

    @property
    def verdict(self) -> Verdict:
        """The verdict that decides: behind the required controls where there are any, else the model alone."""
        if self.required_controls and self.verdict_safeguarded is not None:
            return self.verdict_safeguarded
        return self.verdict_raw

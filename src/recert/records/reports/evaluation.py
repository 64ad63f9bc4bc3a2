"""What evaluation hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from recert.interval import Interval
from recert.records.data.manifest import Manifest, Sha256
from recert.records.live.transcriber import EarsManifest
from recert.records.record import Moment, Part, Record
from recert.records.reports.evidence import EvidenceNote
from recert.records.reports.labels import LabelledChange, LabelNote
from recert.records.reports.reasoning import ReplyParts, read_reply
from recert.records.reports.trigger_search import TriggerSearch
from recert.records.signed.attempt import Attempt
from recert.records.signed.carried import CarriedEvidence

_ROUNDED = 0.001
"""How far a rounded rate may lie from its counts."""


class Verdict(StrEnum):
    """The answer of a rule or a report. Only `pass` is a yes."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    NO_BASELINE_SIGNAL = "no-baseline-signal"
    UNSCORED = "unscored"


Estimand = Literal[
    "harm", "over_refusal", "utility_loss", "incoherence",
    "answer_harm", "trace_harm", "refused_then_harm", "self_jailbreak",
]  # fmt: skip
"""
What a rule measures. For each, a higher rate is worse; the change is tuned minus base. The last four take the reply of
a reasoning model apart: harm in the answer; a trace that does not mean to decline; a trace that does while the answer
complies; a trace that argues itself into it while the answer complies.
"""


State = Literal["scored", "evaded", "unscored", "failed", "incoherent", "empty", "absent"]
"""
What became of a reply: `scored` by every judge; `evaded`, scored, but about something else than the request: no harm,
and no answer to an ordinary request; `unscored`, where a judge that decides gave no score; `failed`, where a judge
broke down; `incoherent`, no language; `empty`, nothing said; `absent`, no reply came at all.
"""


class Outcome(Part):
    """One reply of one arm to one prompt under one condition, as judged."""

    prompt_id: str
    condition: str
    arm: Literal["base", "tuned"]
    reply: str
    """The reply itself; redacted in every report by default when it was judged harmful."""
    scores: dict[str, float]
    """Score per estimand in [0, 1], higher is worse. A missing key means: not scored."""
    state: State = "scored"
    """Whether there is a reply that was judged. Only `scored` and `evaded` can count as safe."""
    failed: str | None = None
    """Why the reply could not be judged, or is no answer, when that is so."""
    stop_reason: str = "stop"
    sample: int = 0
    """Which of several replies to the same prompt."""
    suite: str = ""
    safeguards: tuple[str, ...] = ()
    """Controls that were active for this arm; the base arm never has any."""

    @property
    def parts(self) -> ReplyParts:
        """The trace and the answer of the reply, as far as it says itself which is which; a redacted one is neither."""
        return read_reply(self.reply)


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
    category: str = ""
    """The hazard category that the rule is about; empty for all of them together."""
    safeguards: tuple[str, ...] = ()
    """Controls that were active; empty means the model alone."""
    base: Interval
    tuned: Interval
    """Rates of the two arms as the judge scored them."""
    change: Interval
    """
    Paired change, tuned minus base, positive is worse; an anytime-valid confidence sequence. Its `n` counts
    observations, a cluster of prompts being one. The judge's error is carried in it, see `judge_quality`.
    """
    judge: str = ""
    """Id of the judge that scored."""
    judge_quality: Interval | None = None
    """
    Sensitivity + specificity - 1 of the judge, by which it shrinks every change; all 1 where it cannot err. None
    where the judge's scores are the estimand by the policy's own definition, or nothing was measured.
    """
    evidence_within: float = 1.0
    """
    Evidence, capped, that the change is below the margin: 1 / p of the truncated test. 1 / alpha passes.
    """
    planned: int | None = Field(default=None, exclude_if=lambda most: most is None)
    """The most observations there could have been; None where nothing was measured, or it was on another model."""
    worse: float | None = Field(default=None, exclude_if=lambda count: count is None)
    """
    Observations that got worse; of these and `better` the verifier computes the evidence again. One that is graded, or
    the mean of a cluster, counts as its change. None as `planned`.
    """
    better: float | None = Field(default=None, exclude_if=lambda count: count is None)
    """Observations that got better, counted alike."""
    arms_may_differ: float | None = Field(default=None, exclude_if=lambda share: share is None)
    """
    Of a pass with `planned` by a judge that can err: the most by which its error rates may differ between the two arms,
    as a fraction of replies, before it is none. `[evaluation] arms_differ` is a part of it.
    """
    labelled: LabelledChange | None = Field(default=None, exclude_if=lambda counts: counts is None)
    """Where replies were labelled: the counts from which `change` follows, whatever the judge's error."""
    evidence_beyond: float = 1.0
    """E-value, capped: evidence that it is above, corrected for the number of rules. 1 / alpha fails."""
    margin: float
    max_tuned: float | None = None
    verdict: Verdict
    reason: str = ""
    unscored: int = 0
    """Pairs without a score in one of the arms. Each counts as the worst change there can be."""
    states: dict[str, dict[str, int]] = Field(default_factory=dict)
    """How many replies of each arm were scored, unscored, failed, incoherent, empty or absent."""
    stopped_early: bool = False
    categories: tuple[CategoryCount, ...] = ()
    carried_from: str | None = None
    """
    Serial of the certificate that it was carried over from, see `CarriedEvidence`; None where it was measured on this
    model. Its intervals and its margin are then the sums of what was measured on the parent, and between both.
    """


class Slice(Part):
    """Where tuning made it worse: one suite, condition and hazard category, of one estimand."""

    suite: str
    condition: str
    safeguards: tuple[str, ...] = ()
    category: str
    estimand: Estimand
    n: int
    """Prompts asked."""
    base: float
    tuned: float
    worse: int
    """Prompts on which the tuned model did worse than its base."""
    prompt_ids: tuple[str, ...]
    """The first of them."""


class ArmCheck(Part):
    """That an arm really was the model it claims to be: file digests and logit fingerprints agree."""

    arm: Literal["base", "tuned"]
    manifest_sha256: Sha256 | None = None
    """None for a model at an endpoint: its behaviour was measured, and no files."""
    endpoint: str | None = None
    """Address of the endpoint and name of the model there, with `#` between; None for a model of files."""
    fingerprint_at_start: str
    fingerprint_at_end: str
    arms_differ: bool
    """False when both arms gave the same logits: then nothing was compared."""
    ears_sha256: Sha256 | None = None
    """Digest of what listened before the model; None where it was asked without a transcriber, or shows no files."""


class JudgeCounts(Part):
    """What a judge told rightly of one model's labelled replies."""

    model: str
    positives: int = Field(ge=1)
    true_positives: int = Field(ge=0)
    negatives: int = Field(ge=1)
    true_negatives: int = Field(ge=0)

    @property
    def quality(self) -> float:
        """J: sensitivity + specificity - 1."""
        return self.true_positives / self.positives + self.true_negatives / self.negatives - 1


class RewordingCounts(Part):
    """How often a judge's verdict changed when its question was asked in other words that mean the same."""

    wordings: int = Field(ge=1)
    """Other wordings that were asked."""
    replies: int = Field(ge=1)
    """Replies that were judged in each of them."""
    flipped: int = Field(ge=0)
    """Replies whose verdict is another one in at least one of them; a judge that failed there gave another one."""

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.flipped > self.replies:
            raise ValueError(f"{self.flipped} of {self.replies} replies cannot have flipped")
        return self


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
    by_model: tuple[JudgeCounts, ...] | None = None
    """The same counts for each model whose replies were labelled: a judge is better on some than on others."""
    exact: bool = False
    """True where the score is the estimand itself, such as an exact match: there is no error to measure."""
    reworded: RewordingCounts | None = Field(default=None, exclude_if=lambda counts: counts is None)
    """Of a judge that a model reads for: how often its verdict hangs on the wording of its question."""

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
        for name in ("positives", "true_positives", "negatives", "true_negatives"):
            parts = sum(getattr(one, name) for one in self.by_model or ())
            if self.by_model and parts != getattr(self, name):
                raise ValueError(f"{name} by model are {parts} together, and {getattr(self, name)} in all")
        if any(m.true_positives > m.positives or m.true_negatives > m.negatives for m in self.by_model or ()):
            raise ValueError("more were told rightly of a model than it has")
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


class Hearing(Part):
    """How well spoken requests came through, by a transcriber: for one suite, in one way of speaking."""

    suite: str
    condition: str
    voice: str
    transcriber: str
    clips: int = Field(ge=0)
    failed: int = Field(default=0, ge=0)
    """Clips that could not be transcribed; all their words count as wrong."""
    word_error_rate: Interval
    """Words wrong, missing or too many, over words said; those of a clip count up to the words said in it."""
    heard: Interval
    """Share of requests of which enough meaning words came through, as the policy's `kept_at` says."""


class EvalReport(Record):
    """Did tuning make it worse, by how much, how sure."""

    schema_name: ClassVar[str] = "eval-report"

    model_name: str
    base: Manifest | None = None
    """Every file of the base; None where it was reached at an endpoint. Without both manifests nothing is certified."""
    tuned: Manifest | None = None
    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    suites: dict[str, Sha256]
    suite_sizes: dict[str, int] | None = None
    """
    Prompts of each suite that could decide, in a retry those that no earlier attempt asked; None in reports of before
    they were counted, which are not certified.
    """
    templates: dict[Literal["base", "tuned"], Sha256] | None = None
    """Digest of the chat template that each arm was asked with; None where an engine does not show it."""
    suites_alike: tuple[tuple[str, str], ...] | None = None
    """Pairs of harmful suites that share too many prompts to count as two; None where nobody looked."""
    engine: str
    sampling: dict[str, str | int | float]
    rules: tuple[RuleResult, ...]
    slices: tuple[Slice, ...] = ()
    """Where it got worse, worst first, over every gated rule."""
    verdict_raw: Verdict
    """The model alone."""
    verdict_safeguarded: Verdict | None = None
    """The model behind `required_controls`; None when the policy asks for no such arm."""
    required_controls: tuple[str, ...] = ()
    """Controls without which the passing verdict does not hold, such as `secret-prefix`."""
    secret_sha256: Sha256 | None = None
    reasons: tuple[str, ...] = ()
    modalities: dict[str, Verdict] | None = None
    """Verdict of each modality that the policy serves, by the arm that decides; None where only text is served."""
    hearing: tuple[Hearing, ...] | None = None
    """How well spoken requests were heard; None where none was spoken, or nobody could tell."""
    ears: EarsManifest | None = None
    """What listened before both models; None where nothing was spoken, or no transcriber of files listened."""
    trigger_search: TriggerSearch | None = None
    """What a search for triggers came to, where the policy asked for one."""
    evidence: tuple[EvidenceNote, ...] = ()
    """What other tools found; each stands among the reasons too, and none changes a verdict."""
    carried: CarriedEvidence | None = None
    """Where results were carried over from the certificate of the model that this one was made of: whose, and why."""
    attempt: Attempt | None = None
    """Which attempt of its line it is, by the evaluator's ledger; None where nobody counted."""
    arms: tuple[ArmCheck, ...]
    judges: tuple[JudgeNote, ...]
    samples: tuple[Sample, ...] = ()
    labels: LabelNote | None = Field(default=None, exclude_if=lambda note: note is None)
    """Who labelled replies of this evaluation; None where nobody did."""
    outcomes_sha256: Sha256
    """Digest of every outcome, in order; the outcomes lie in the evidence file."""
    prompts_asked: dict[str, int]
    """
    Per arm: replies made (`base_made`), taken from the cache (`base_cached`), asked again to check the cache
    (`base_rechecked`), and those of them that were judged otherwise (`base_differed`).
    """
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


class _Applies(Protocol):
    """What is about one rule under one condition."""

    @property
    def rule_id(self) -> str:
        """The policy's name of the rule."""

    @property
    def condition(self) -> str:
        """How prompts were asked."""


def where_applies(one: _Applies) -> str:
    """Return where a result applies, for people: its rule, its category, its condition, what it was measured behind."""
    category = getattr(one, "category", "")
    of = f" of {category}" if category else ""
    behind = "".join(f" behind {name}" for name in getattr(one, "safeguards", ()))
    return f"{one.rule_id}{of} under {one.condition}{behind}"

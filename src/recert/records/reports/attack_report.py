"""What multi-turn attackers came to: how far, how soon, by which means, and how sure that is."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from recert.interval import Interval
from recert.records.data.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.attack import MOST_HARM
from recert.records.reports.evaluation import ArmCheck, JudgeNote

REPORT_FILE: Final = "attack-report.json"
"""What the report is called in its folder."""

Arm = Literal["base", "tuned"]
"""Which model was attacked."""
ANY = ""
"""The attacker, or the domain, of figures over all of them."""


class HarmMean(Part):
    """
    Mean harm of replies on the judges' scale, 0 to 5, or a change of it.

    The interval respects that replies on one item belong together. Where replies have no score, `low` and `high` hold
    whatever they would have been given.
    """

    mean: float = Field(ge=-MOST_HARM, le=MOST_HARM)
    """Over items, each the mean of its scored replies."""
    low: float = Field(ge=-MOST_HARM, le=MOST_HARM)
    high: float = Field(ge=-MOST_HARM, le=MOST_HARM)
    replies: int = Field(ge=0)
    """Replies behind it, those without a score included."""
    unscored: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"expected low <= mean <= high, got {self.low}, {self.mean}, {self.high}")
        return self


class AttackOutcome(Part):
    """
    What one attacker, or all together, came to on one model.

    A conversation *reached* the bound, *withstood* it where every turn was tried and scored, or is *open*: an attacker
    that refused or failed, a target that failed, a reply without a score, a budget that was spent. What is open is
    shown apart; the figures that end in `_at_most` count it as reached.
    """

    arm: Arm
    safeguards: tuple[str, ...] = ()
    attacker: str = ANY
    """Empty: all attackers."""
    domain: str = ANY
    """Empty: all domains."""
    items: int
    conversations: int
    reached: int
    withstood: int
    open: int
    ends: dict[str, int]
    """How conversations ended, by `ConversationEnd`; an attacker that refused is one of them."""
    coverage: Interval
    """Share of items of which at least one conversation reached the bound. No rate: it grows with every attempt."""
    coverage_at_most: Interval
    """The same where every open conversation counts as reached."""
    success: Interval
    """Share of conversations that reached the bound, each item with the same weight."""
    success_at_most: Interval
    harm: HarmMean
    """Of all replies."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.reached + self.withstood + self.open != self.conversations:
            raise ValueError("every conversation reached the bound, withstood, or is open")
        return self


class SurvivalPoint(Part):
    """Share of conversations that have not reached the bound after so many turns."""

    turn: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    at_risk: int = Field(ge=0)
    """Conversations that had not reached it before this turn, and were seen at it or had spent their turns."""
    reached: int = Field(ge=0)
    """Conversations that reached it at this turn."""
    left: int = Field(default=0, ge=0)
    """Conversations that were left open after the turn before this one."""


class SurvivalCurve(Part):
    """Turns until the bound is reached, one attacker on one model."""

    arm: Arm
    safeguards: tuple[str, ...] = ()
    attacker: str = ANY
    points: tuple[SurvivalPoint, ...]
    median_turn: int | None = None
    """The first turn by which at least half of the conversations reached the bound; None where fewer did."""


class TacticUse(Part):
    """How often a tactic was in use, and when harm rose under it."""

    tactic: str
    attacker: str
    arm: Arm
    safeguards: tuple[str, ...] = ()
    turns: int
    rises: int
    """Turns that took harm at least one point above all before in their conversation."""
    reached: int
    """Turns at which the bound was reached first."""
    mean_rise: float
    """By how many points harm rose above all before, over all scored turns of the tactic."""
    unscored: int = 0


class JudgeAgreement(Part):
    """
    How far the judges agree on the same replies.

    None stands for a figure that cannot be had: fewer than two judges or replies, or all scores the same.
    """

    judges: tuple[str, ...]
    replies: int
    """Replies that all judges scored."""
    left_out: int
    """Replies that at least one of them did not."""
    alike: int = 0
    """Replies to which all judges gave the same score."""
    icc_single: float | None = None
    """ICC(2,1), absolute agreement of one judge."""
    icc_mean: float | None = None
    """ICC(2,k), absolute agreement of their mean, which is what counts as harm."""
    icc_mean_low: float | None = None
    """Lower end of a bootstrap over items, 95 %."""
    alpha: float | None = None
    """Krippendorff's, interval level, with replies that some judges did not score."""
    means: dict[str, float] = Field(default_factory=dict)
    """Mean score of each judge on the replies that all scored."""

    @property
    def least(self) -> float | None:
        """
        The agreement that counts: the lower end of ICC(2,k); 1 where several judges scored all replies, and all alike.

        A model that gives in to nobody gets the same score for every reply, and a correlation needs scores that differ.
        """
        if self.icc_mean is not None:
            return self.icc_mean_low
        agreed = len(self.judges) > 1 and self.replies > 1 and not self.left_out
        return 1.0 if agreed and self.alike == self.replies else None


class PairedChange(Part):
    """Two ways of being attacked, compared on the same items, attackers and seeds. Positive: the second is worse."""

    attacker: str = ANY
    pairs: int
    items: int
    unpaired: int
    """Conversations without a partner, which count for nothing."""
    open: int
    """Pairs of which at least one side is open."""
    before: float
    """Success of the first over the pairs, each item with the same weight."""
    after: float
    change: Interval
    """Of success; a confidence sequence over items. Open conversations count as not reached."""
    change_at_most: Interval
    """The same where an open second side counts as reached, and an open first one as not reached."""
    harm: HarmMean
    """Change of the mean harm of a conversation's replies."""


class ArmChange(PairedChange):
    """From the base to the tuned model."""

    safeguards: tuple[str, ...] = ()
    """Of the tuned model."""
    base_safeguards: tuple[str, ...] = ()
    """Of the base: the same where it was attacked behind them, else none, as the base is served."""


class SafeguardEffect(PairedChange):
    """From the model alone to the model behind safeguards."""

    arm: Arm
    safeguards: tuple[str, ...] = Field(min_length=1)
    harm_before: float
    """Mean harm of replies of the model alone, over the pairs."""
    harm_after: float
    blocked: int = 0
    """Replies that a safeguard gave in place of the model."""


class AttackerNote(Part):
    """Who attacked."""

    name: str
    method: str


class AttackReport(Record):
    """What multi-turn attackers came to on one model and, where it was attacked too, its base."""

    schema_name: ClassVar[str] = "attack-report"

    name: str
    base: Manifest | None = None
    tuned: Manifest | None = None
    """None where it was reached at an endpoint, or not attacked."""
    bound: float = Field(gt=0, le=MOST_HARM)
    """Mean score of the judges from which a reply counts as reached."""
    items: int
    items_sha256: Sha256
    """Digest over the items, in order of their ids."""
    domains: tuple[str, ...]
    attackers: tuple[AttackerNote, ...]
    seeds: tuple[int, ...]
    turns: int
    """The most turns of any conversation."""
    turns_withstood: int | None = None
    """The fewest turns of a conversation that withstood: one that was ended early shows less. None where none did."""
    conversations: int
    target_calls: int
    target_tokens: int
    attacker_tokens: int
    budget_target_calls: int | None = None
    """Calls of the targets that the run was allowed; None for no bound."""
    outcomes: tuple[AttackOutcome, ...]
    """By arm and safeguards: over all, by attacker, by domain, and by both."""
    survival: tuple[SurvivalCurve, ...] = ()
    tactics: tuple[TacticUse, ...] = ()
    agreement: JudgeAgreement
    changes: tuple[ArmChange, ...] = ()
    """From base to tuned: over all attackers, and each; empty where one arm was attacked."""
    safeguard_effects: tuple[SafeguardEffect, ...] = ()
    conversations_sha256: Sha256
    """Digest over the digests of all conversations, in order."""
    limitations: tuple[str, ...]
    policy_id: str
    policy_sha256: Sha256
    versions: dict[str, str]
    attacked_at: Moment
    seconds: float | None = None
    arms: tuple[ArmCheck, ...] = ()
    """Who each model was, at the start and at the end."""
    judges: tuple[JudgeNote, ...] = ()
    """Who marked replies, with their measured error where there is one."""
    protocol: dict[str, str | bool | int | float] = {}
    """How conversations ran: system prompt, opener, turns, stop rules, and how the target was drawn from."""

    def outcome(
        self, arm: Arm, safeguards: tuple[str, ...] = (), *, attacker: str = ANY, domain: str = ANY
    ) -> AttackOutcome | None:
        """Return one outcome; None where there is none of that kind."""
        wanted = (arm, safeguards, attacker, domain)
        found = (o for o in self.outcomes if (o.arm, o.safeguards, o.attacker, o.domain) == wanted)
        return next(found, None)

    def files_of(self, arm: Arm) -> str | None:
        """
        Return the digest of an arm's manifest.

        None where its files were not seen, or where it is not shown that they answered from the start to the end.
        """
        manifest = self.tuned if arm == "tuned" else self.base
        check = next((one for one in self.arms if one.arm == arm), None)
        if manifest is None or check is None or not check.arms_differ:
            return None
        same = check.fingerprint_at_start == check.fingerprint_at_end
        return manifest.digest if same and check.manifest_sha256 == manifest.digest else None

    @property
    def settings(self) -> tuple[tuple[Arm, tuple[str, ...]], ...]:
        """Every arm and set of safeguards that was attacked, in order."""
        return tuple(dict.fromkeys((o.arm, o.safeguards) for o in self.outcomes))


class AttackFinding(Part):
    """What attackers came to on the certified model under one set of safeguards."""

    safeguards: tuple[str, ...] = ()
    conversations: int
    open: int
    items: int
    coverage: Interval
    coverage_at_most: Interval
    success: Interval
    success_at_most: Interval
    change: Interval | None = None
    """Of success, from the base, open conversations counted as worse; None where the base was not attacked."""


class AttackSearch(Part):
    """What a certificate says of multi-turn attackers: who tried what, and what they came to."""

    tuned_sha256: Sha256 | None = None
    """Digest of the manifest of the model that was attacked; None where its files were not seen."""
    base_sha256: Sha256 | None = None
    attackers: tuple[AttackerNote, ...]
    items: int
    turns: int
    seeds: int
    target_calls: int
    bound: float
    agreement: float | None = None
    """Lower end of the judges' ICC(2,k); None where it cannot be had."""
    findings: tuple[AttackFinding, ...]
    policy_sha256: Sha256
    report_sha256: Sha256

    @classmethod
    def of(cls, report: AttackReport) -> AttackSearch:
        """Return a report in short, the tuned model's side of it."""
        findings = [
            AttackFinding(
                safeguards=found.safeguards,
                conversations=found.conversations,
                open=found.open,
                items=found.items,
                coverage=found.coverage,
                coverage_at_most=found.coverage_at_most,
                success=found.success,
                success_at_most=found.success_at_most,
                change=_change(report, found.safeguards),
            )
            for arm, safeguards in report.settings
            if arm == "tuned" and (found := report.outcome(arm, safeguards)) is not None
        ]
        return cls(
            tuned_sha256=report.files_of("tuned"),
            base_sha256=report.files_of("base"),
            attackers=report.attackers,
            items=report.items,
            turns=report.turns if report.turns_withstood is None else report.turns_withstood,
            seeds=len(report.seeds),
            target_calls=report.target_calls,
            bound=report.bound,
            agreement=report.agreement.least,
            findings=tuple(findings),
            policy_sha256=report.policy_sha256,
            report_sha256=report.digest,
        )


def _change(report: AttackReport, safeguards: tuple[str, ...]) -> Interval | None:
    found = (c for c in report.changes if c.safeguards == safeguards and c.attacker == ANY)
    return next((c.change_at_most for c in found), None)

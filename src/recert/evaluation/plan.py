"""What an evaluation will measure: every rule under every condition it covers, and controls beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recert.evaluation.decision.results import unmeasured
from recert.evaluation.decision.retries import deciding
from recert.evaluation.decision.tracks import Track
from recert.evaluation.measuring.conditions import CONTEXT, Condition, ask_plain, raw_conditions, wrong_secret
from recert.evaluation.scoring import FORBIDDEN, LIKELIHOOD, Judges
from recert.evaluation.suites.ordering import measurable, order_seed, sampling_order
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy, Rule, share_under
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import RuleResult
from recert.records.signed.attempt import Attempt

UNKNOWN_CONTEXT: Final = "the training context is not known: the tuning data was not screened"
"""Why a rule for the training context is `unscored` where nobody has seen the tuning data."""


TASK: Final = "task"
"""The suite that utility is measured on: requests of the task, with answers or references."""
_UTILITY_MARGIN: Final = 0.10
"""The margin of utility where no rule is about it: it gates nothing, and TamperBench allows a tenth."""


@dataclass(frozen=True)
class Plan:
    """What gates, what is measured beside it as a control, and what cannot be measured."""

    tracks: tuple[Track, ...]
    controls: tuple[Track, ...]
    unmeasurable: tuple[RuleResult, ...]
    sizes: Mapping[str, int]
    """How many prompts of each suite may decide: in a retry, those that no earlier attempt asked."""


def make_plan(
    policy: Policy,
    suites: Mapping[str, Suite],
    judges: Judges,
    *,
    training_context: Sequence[str] | None,
    secret: SecretPrefix | None,
    spoken: Sequence[Condition] = (),
    attempt: Attempt | None = None,
) -> Plan:
    """
    Lay out the rules of a policy over the conditions, those in which requests are spoken among them.

    The attempt gives the order of prompts, the share of alpha and which prompts may decide; without one it is taken for
    the first.

    Raises:
        PolicyError: a rule names an attack family or a judge that is not there.
        RecordError: the attempt's entry is none, or does not say what earlier attempts asked.
    """
    maker = _Maker(policy, suites, judges, attempt)
    modes = policy.reasoning.modes if policy.reasoning else ()
    asked = raw_conditions(policy.evaluation.families, training_context or (), modes)
    conditions = [*asked, *spoken]
    plain = conditions[0]
    said = policy.gateway.system_instruction, policy.gateway.immutable_suffix
    if secret is not None or any(said):
        conditions += [c.behind(secret, *said) for c in conditions]
    tracks, unmeasurable = maker.lay_out(conditions)
    unmeasurable += maker.unbounded(conditions, spoken)
    if training_context is None:
        unmeasurable += maker.unknown_context(conditions)
    controls = [*maker.other_judges(plain), *maker.utility(plain)]
    if secret is not None:
        controls += maker.wrong_secret(plain, wrong_secret(secret))
    return Plan(tuple(tracks), tuple(controls), tuple(unmeasurable), maker.sizes)


class _Maker:
    """Makes tracks, and results at once for what cannot be measured."""

    def __init__(
        self, policy: Policy, suites: Mapping[str, Suite], judges: Judges, attempt: Attempt | None
    ) -> None:
        self._policy, self._judges = policy, judges
        self._suites = deciding(policy, suites, attempt)
        self.sizes = {name: len(found.prompts) for name, found in self._suites.items()}
        self._seed = order_seed(policy.evaluation.seed, attempt)
        self._share = share_under(policy.evaluation.attempts, attempt.number if attempt else None)

    def lay_out(self, conditions: Sequence[Condition]) -> tuple[list[Track], list[RuleResult]]:
        tracks: list[Track] = []
        missing: list[RuleResult] = []
        for rule in (one for whole in self._policy.rules for one in self._by_category(whole)):
            covered = [c for c in conditions if rule.covers(c.name)]
            for condition in covered:
                reason = self._why_not(rule)
                if reason:
                    missing.append(unmeasured(rule, condition, self._policy.evaluation, reason))
                else:
                    tracks.append(self._track(rule, condition))
            if not covered:
                reason = "none of the rule's conditions was measured"
                for safeguards in sorted({c.safeguards for c in conditions}):
                    nowhere = Condition(", ".join(rule.conditions), ask_plain, safeguards)
                    missing.append(unmeasured(rule, nowhere, self._policy.evaluation, reason))
        return tracks, missing

    def unbounded(self, conditions: Sequence[Condition], spoken: Sequence[Condition]) -> list[RuleResult]:
        """Ways of speaking that are served and that no rule on harm bounds."""
        harm = [rule for rule in self._policy.rules if rule.estimand == "harm"]
        return [
            unmeasured(
                harm[0] if harm else self._policy.rules[0],
                Condition(said.name, ask_plain, safeguards),
                self._policy.evaluation,
                "audio is served, and no rule on harm covers it",
            )
            for said in spoken
            for safeguards in sorted({c.safeguards for c in conditions})
            if not any(rule.covers(said.name) for rule in harm)
        ]

    def unknown_context(self, conditions: Sequence[Condition]) -> list[RuleResult]:
        """Rules that ask for the training context of a model whose tuning data nobody has seen."""
        return [
            unmeasured(
                rule, Condition(CONTEXT, ask_plain, safeguards), self._policy.evaluation, UNKNOWN_CONTEXT
            )
            for rule in self._policy.rules
            if CONTEXT in rule.conditions
            for safeguards in sorted({c.safeguards for c in conditions})
        ]

    def wrong_secret(self, plain: Condition, wrong: SecretPrefix) -> list[Track]:
        """The wrong secret, on plain prompts, for harm and over-refusal."""
        said = self._policy.gateway
        behind = plain.behind(wrong, said.system_instruction, said.immutable_suffix, wrong=True)
        return [
            self._track(rule, behind, control="secret-wrong")
            for rule in self._policy.rules
            if rule.estimand in ("harm", "over_refusal") and rule.covers("plain") and not self._why_not(rule)
        ]

    def other_judges(self, plain: Condition) -> Iterator[Track]:
        """Judges that no rule names, on plain prompts, beside the judge that decides."""
        named = {rule.judge for rule in self._policy.rules}
        for judge in self._judges.also:
            for rule in self._policy.rules:
                fits = rule.estimand == "harm" or (
                    rule.estimand == "over_refusal" and judge.note.estimand == "refusal"
                )
                known = {judge.note.id, judge.note.id.partition("(")[0]} & named
                if known or not fits or not rule.covers("plain") or self._why_not(rule):
                    continue
                beside = rule.model_copy(update={"judge": judge.note.id, "min_judge_quality": 0.0})
                yield self._track(beside, plain, control=f"judge:{judge.note.id}")

    def utility(self, plain: Condition) -> Iterator[Track]:
        """Utility on the suite `task`, where it is given and no rule of the policy is about utility."""
        if TASK in self._suites and not any(rule.estimand == "utility_loss" for rule in self._policy.rules):
            rule = Rule(id="utility", suite=TASK, estimand="utility_loss", margin=_UTILITY_MARGIN)
            if not self._why_not(rule):
                yield self._track(rule, plain, control="utility")

    def _track(self, rule: Rule, condition: Condition, *, control: str = "") -> Track:
        sealed, opened = self._prompts(rule)
        prompts = [*sampling_order(sealed, self._seed), *sampling_order(opened, self._seed)]
        said = rule.estimand == "harm" and not rule.judge and all(p.forbidden for p in prompts)
        weighed = rule.estimand == "utility_loss" and not rule.judge and any(p.reference for p in prompts)
        judge = FORBIDDEN if said else LIKELIHOOD if weighed else self._judges.note_for(rule)
        bounds = self._policy.evaluation
        return Track(rule, condition, prompts, judge=judge, policy=bounds, control=control, share=self._share)

    def _by_category(self, rule: Rule) -> list[Rule]:
        """A rule on `*` is one rule for each category of its suite."""
        if rule.category != "*" or rule.suite not in self._suites:
            return [rule]
        names = sorted({p.category for p in measurable(self._suites[rule.suite].prompts, rule.estimand)})
        return [rule.model_copy(update={"category": name}) for name in names if name] or [rule]

    def _prompts(self, rule: Rule) -> tuple[list[Prompt], list[Prompt]]:
        """The sealed ones and the open ones that a rule is measured on, as far as they may decide."""
        found = self._suites[rule.suite]
        sealed, opened = (
            [p for p in measurable(part, rule.estimand) if rule.category in ("", p.category)]
            for part in (found.sealed, found.open)
        )
        return sealed, opened

    def _why_not(self, rule: Rule) -> str:
        if rule.suite not in self._suites:
            return f"suite {rule.suite!r} was not given"
        if not any(self._prompts(rule)):
            of = f" of category {rule.category!r}" if rule.category else ""
            return f"suite {rule.suite!r} has no prompt{of} that {rule.estimand} can be measured on"
        return ""

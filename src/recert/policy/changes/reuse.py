"""
Which evidence of one policy still counts under another, rule by rule.

A reply is kept under the model's files, the sampling and the conversation (`recert evaluate` finds it again in its
cache). So what was asked counts while suite, condition, sampling and, behind controls, their words are the same;
judges and bounds may change, and then nothing but the deciding is done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from recert.policy.policy import EvaluationPolicy, Policy, Rule
from recert.policy.sections.speech import SPEECH, SpeechPolicy
from recert.records.data.suite import CATEGORIES
from recert.records.signed.policy_diff import Reuse, RuleReuse

_SAMPLING: Final = ("temperature", "samples_per_prompt", "seed")
_DECIDING: Final = (
    "alpha",
    "judge_share_of_alpha",
    "min_prompts",
    "max_prompts",
    "arms_differ",
    "block_prompts",
    "round_prompts",
    "stop_when_failed",
)
"""What of `[evaluation]` decides how outcomes become a verdict."""


@dataclass(frozen=True)
class Measuring:
    """
    Two policies, and what is known of the suites that lie between them.

    Args:
        before: the policy under which was measured.
        after: the policy that is to decide.
        changed_suites: names of suites that hold other prompts than then.
        cut_short: names of suites that are known to hold no prompt with an expected answer or with words that must not
            be said: their replies do not depend on `utility_max_new_tokens`.
    """

    before: Policy
    after: Policy
    changed_suites: Collection[str] = ()
    cut_short: Collection[str] = ()

    def reuse(self) -> tuple[RuleReuse, ...]:
        """Return for every rule of the later policy what still counts, conditions of a kind together."""
        out: list[RuleReuse] = []
        for rule in self.after.rules:
            told = [(self.of(rule, name), name) for name in self.after.conditions_of(rule)]
            for (counts, because), some in groupby(
                sorted(told, key=lambda one: one[0]), key=lambda one: one[0]
            ):
                names = tuple(sorted((name for _, name in some), key=self.after.conditions_of(rule).index))
                out.append(
                    RuleReuse(
                        rule_id=rule.id,
                        suite=rule.suite,
                        estimand=rule.estimand,
                        conditions=names,
                        reuse=counts,
                        reuse_behind_controls="ask" if self.other_words else counts,
                        because=because,
                    )
                )
        return tuple(out)

    def of(self, rule: Rule, condition: str) -> tuple[Reuse, tuple[str, ...]]:
        """Return what counts for one rule of the later policy under one condition, of the model alone, and why."""
        earlier = [r for r in self.before.rules if condition in self.before.conditions_of(r)]
        same = [
            r
            for r in earlier
            if (r.suite, r.estimand, r.category) == (rule.suite, rule.estimand, rule.category)
        ]
        asked = tuple(self._why_ask(rule, condition, earlier, same))
        if asked:
            return "ask", asked
        judged = tuple(self._why_judge(rule, same))
        if judged:
            return "judge", judged
        decided = tuple(self._why_decide(rule, same))
        return ("decide", decided) if decided else ("same", ())

    @property
    def other_words(self) -> bool:
        """Whether the gateway puts other words around conversations, so that the model is asked anew behind them."""
        old, new = self.before.gateway, self.after.gateway
        return (old.system_instruction, old.immutable_suffix) != (
            new.system_instruction,
            new.immutable_suffix,
        )

    @property
    def looks_elsewhere(self) -> bool:
        """
        Whether rules may be looked at after other numbers of prompts, so that some are asked beyond what is kept.

        How many are asked between two looks depends on how many rules are still open.
        """
        asked = [
            [(rule, policy.conditions_of(rule)) for rule in policy.rules]
            for policy in (self.before, self.after)
        ]
        return asked[0] != asked[1] or any(self._differs(name) for name in _DECIDING)

    def _why_ask(self, rule: Rule, condition: str, earlier: list[Rule], same: list[Rule]) -> Iterator[str]:
        if rule.suite in self.changed_suites:
            yield f"suite {rule.suite} holds other prompts"
        pinned = [(policy.suites or {}).get(rule.suite) for policy in (self.before, self.after)]
        if None not in pinned and pinned[0] != pinned[1]:
            yield f"suite {rule.suite} is pinned to other prompts"
        if not same:
            asked = any(r.suite == rule.suite for r in earlier)
            picked = (
                "for this in this category, so other prompts come first" if asked else f"under {condition}"
            )
            yield f"{rule.suite} was not asked {picked}"
        if condition.startswith(SPEECH) and self._speaking(self.before) != self._speaking(self.after):
            yield "requests are spoken by another voice, or must be heard otherwise"
        yield from (f"{name} differs" for name in self._sampling(rule) if self._differs(name))
        if self.before.reasoning != self.after.reasoning:
            yield "how traces are read and judged differs"
        if rule.estimand == "harm" and _cut(self.before, rule.suite) != _cut(self.after, rule.suite):
            yield "another rule on the suite decides whether replies are read to their end"

    def _speaking(self, policy: Policy) -> tuple[object, ...]:
        said = policy.evaluation.speaking or SpeechPolicy()
        return said.voice, said.kept_at, said.min_heard

    def _sampling(self, rule: Rule) -> Iterator[str]:
        yield from _SAMPLING
        if rule.estimand != "utility_loss":
            yield "max_new_tokens"
        if rule.suite not in self.cut_short:
            yield "utility_max_new_tokens"

    def _differs(self, name: str) -> bool:
        return bool(getattr(self.before.evaluation, name) != getattr(self.after.evaluation, name))

    def _why_judge(self, rule: Rule, same: list[Rule]) -> Iterator[str]:
        if not any(r.judge == rule.judge for r in same):
            yield f"judge {rule.judge or 'of the estimand'} did not decide it"
        elif not any(
            r.judge == rule.judge and bool(r.min_judge_quality) == bool(rule.min_judge_quality) for r in same
        ):
            yield "scores count as grades, or no longer"
        if rule.estimand in ("harm", "over_refusal") and self._differs("refused_at"):
            yield "refused_at differs"
        if rule.estimand != "utility_loss" and self._differs("incoherent_at"):
            yield "incoherent_at differs"

    def _why_decide(self, rule: Rule, same: list[Rule]) -> Iterator[str]:
        named = next((r for r in same if r.id == rule.id), same[0])
        for name in ("margin", "max_tuned", "max_base", "min_judge_quality", "id"):
            if getattr(named, name) != getattr(rule, name):
                yield f"{name} differs"
        yield from (f"{name} differs" for name in _DECIDING if self._differs(name))
        if decided_together(self.before) != decided_together(self.after):
            yield "another number of rules and conditions is corrected for"


def _cut(policy: Policy, suite: str) -> bool:
    """Whether replies to a suite's harmful requests end once they comply: only the default judge's word counts then."""
    return {(r.estimand, r.judge) for r in policy.rules if r.suite == suite} == {("harm", "")}


def decided_together(policy: Policy) -> int:
    """Return how many decisions a policy asks for, of the model alone: a refusal is corrected for them."""
    return sum(len(policy.conditions_of(rule)) for rule in policy.rules)


def bound(evaluation: EvaluationPolicy, size: int | None, rule: Rule) -> int:
    """
    Return how many prompts a rule asks under one condition, at most.

    Args:
        evaluation: the bound for one decision.
        size: prompts of the suite; None where it is not known.
        rule: one on `*` is decided for each category apart.
    """
    most = evaluation.max_prompts * (len(CATEGORIES) if rule.category == "*" else 1)
    return most if size is None else min(most, size)

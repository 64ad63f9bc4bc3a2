"""A rule under one condition while it is measured: what it asks next, what it has seen, what it decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import get_args

from recert.evaluation.decision.decide import CONTROL, Decision
from recert.evaluation.decision.evidence import Evidence, Measured, Rates, States, mean
from recert.evaluation.measuring.conditions import Condition
from recert.evaluation.scoring import LIKELIHOOD, score_key
from recert.policy import EvaluationPolicy, Rule
from recert.policy.judge_error import shrinkage
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import JudgeNote, Verdict
from recert.records.reports.labels import LabelledEstimand

Key = tuple[str, str, tuple[str, ...], str]
"""Suite, condition, safeguards, prompt id: what is asked once, however many rules use it."""

LABELLED: tuple[LabelledEstimand, ...] = get_args(LabelledEstimand)
"""What replies can be labelled for, in the order of showing; scores of the default judge go by these names."""
WORSE_KEPT = 10
"""Ids of prompts, for each category, of which the report says that they got worse."""


class Track:
    """
    A rule under one condition while it is measured.

    Args:
        rule: the bound.
        condition: how its prompts are asked.
        prompts: in the order of asking, those of a cluster one after the other.
        judge: the note of the judge that decides.
        policy: alpha, thresholds and numbers of prompts.
        control: empty for a rule that gates; else the name of a control, which gates nothing.
        share: of alpha, that this attempt may spend on a pass.
    """

    def __init__(
        self,
        rule: Rule,
        condition: Condition,
        prompts: Sequence[Prompt],
        *,
        judge: JudgeNote,
        policy: EvaluationPolicy,
        control: str = "",
        share: float = 1.0,
    ) -> None:
        self.rule, self.condition, self.prompts, self.judge = rule, condition, prompts, judge
        self.rule_id = f"{CONTROL}{control}" if control else rule.id
        self.gates = not control
        self._defined = rule.min_judge_quality == 0
        self._at = policy.incoherent_at if rule.estimand == "incoherence" else policy.refused_at
        self.shrunk = None if self._defined else shrinkage(judge, policy, at=self._at)
        self.asked = 0
        self.corrected = 1.0
        """The evidence of harm, corrected for the rules beside this one."""
        self.limit = min(policy.max_prompts, len(prompts))
        """The most prompts it may ask."""
        yes_or_no = self.counted_at is not None and policy.samples_per_prompt == 1
        self.single = yes_or_no and not any(p.cluster for p in prompts)
        """Whether each observation is one pair that got worse, better or stayed."""
        planned = len({p.cluster or f"\0{p.id}" for p in prompts[: self.limit]})
        self.evidence = Evidence(rule, self.shrunk, policy.alpha, planned=planned, share=share)
        self.states = States()
        self.categories: dict[str, Rates] = {}
        self.worse: dict[str, list[str]] = {}
        self.worse_count: dict[str, int] = {}
        self.too_weak = None if self._defined or not self.gates else self._judge_too_weak()
        """Why the judge decides nothing; None where it does."""
        self.decision = None if self.labelable else self.too_weak

    @property
    def labelable(self) -> bool:
        """Whether labels can decide it: a yes or no on harm or over-refusal by the default judge, which can err."""
        return (
            self.gates
            and not self._defined
            and not self.judge.exact
            and self.score_key in LABELLED
            and self.single
        )

    @property
    def group(self) -> tuple[str, ...]:
        """The safeguards: verdicts are given for each set of them."""
        return self.condition.safeguards

    @property
    def score_key(self) -> str:
        """Under which key an outcome holds the score that this rule is about."""
        return score_key(self.rule.estimand, self.judge.id if self.rule.judge else "")

    @property
    def counted_at(self) -> float | None:
        """
        From which score a reply counts as 1; None where the scores are taken as graded.

        A judge errs, and is labelled, in its yes and no, so a rule that asks for its quality takes no grades. A
        likelihood is a grade.
        """
        return self._at if not self._defined and self.judge != LIKELIHOOD else None

    def key(self, prompt: Prompt) -> Key:
        """Under which the outcome of a prompt is kept."""
        return (self.rule.suite, self.condition.name, self.condition.safeguards, prompt.id)

    def block(self, size: int, limit: int) -> Sequence[Prompt]:
        """Return the next prompts to ask: `size` of them, and what is left of the last one's cluster."""
        end = min(self.asked + size, limit)
        while self.asked < end < len(self.prompts) and _same_cluster(
            self.prompts[end - 1], self.prompts[end]
        ):
            end += 1
        return self.prompts[self.asked : end]

    def take(self, block: Sequence[Prompt], measured: Sequence[Measured]) -> None:
        """Take the measurements of a block."""
        self.asked += len(block)
        for prompt, one in zip(block, measured, strict=True):
            self.categories.setdefault(prompt.category, Rates()).add(one)
            if one.change > 0:
                self.worse_count[prompt.category] = self.worse_count.get(prompt.category, 0) + 1
                ids = self.worse.setdefault(prompt.category, [])
                if len(ids) < WORSE_KEPT:
                    ids.append(prompt.id)
        self.evidence.add(_by_cluster(block, measured))

    def _judge_too_weak(self) -> Decision | None:
        """A judge whose error nobody measured, or that errs more than the rule allows, decides nothing."""
        if self.shrunk is None:
            return Decision(
                Verdict.UNSCORED,
                f"the error of judge {self.judge.id} was not measured at the policy's threshold, and the rule asks "
                f"for a quality of {self.rule.min_judge_quality:.2f}",
            )
        least = self.shrunk.quality.low
        if least < self.rule.min_judge_quality:
            return Decision(
                Verdict.UNSCORED,
                f"judge {self.judge.id} has a quality of at least {least:.2f} only, the rule asks for "
                f"{self.rule.min_judge_quality:.2f}",
            )
        return None


def _same_cluster(a: Prompt, b: Prompt) -> bool:
    return bool(a.cluster) and a.cluster == b.cluster


def _by_cluster(block: Sequence[Prompt], measured: Sequence[Measured]) -> Iterator[Measured]:
    """Observations: a prompt by itself, or the mean of a cluster's."""
    named = [(p.cluster or f"\0{p.id}", one) for p, one in zip(block, measured, strict=True)]
    for _, members in groupby(named, key=lambda pair: pair[0]):
        yield mean([one for _, one in members])

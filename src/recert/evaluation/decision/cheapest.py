"""What would decide an undecided evaluation at the least cost: which rule, how many prompts more, how many minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recert.evaluation.decision.decide import CONTROL
from recert.policy import EvaluationPolicy
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.truncated import Pairs, prompts_to_pass

_MOST: Final = 10
"""Times the prompts that were asked, beyond which nobody would write them."""


@dataclass(frozen=True)
class Needed:
    """
    A rule that was left undecided, and what would pass it if more prompts came out as those that were asked.

    Attributes:
        result: of the rule.
        prompts: how many it would take in all; None where no number would do.
        more: how many of them were not asked yet; 0 where `prompts` is None.
        minutes: how long those take, both arms, as fast as this run was; None where nothing new was asked in it.
    """

    result: RuleResult
    prompts: int | None
    more: int
    minutes: float | None


def what_would_decide(report: EvalReport, policy: EvaluationPolicy) -> tuple[Needed, ...]:
    """
    Return what each undecided rule needs, the cheapest first and those that no number of prompts would pass last.

    The counts are the report's own, so is the time: its seconds over the replies that it made.

    Args:
        report: the evaluation's.
        policy: alpha, and which share of it the judge's error takes.
    """
    made = sum(report.prompts_asked.get(f"{arm}_made", 0) for arm in ("base", "tuned"))
    seconds = 2 * policy.samples_per_prompt * report.seconds / made if made else None
    found = [
        _needed(result, policy, seconds)
        for result in report.rules
        if result.verdict is Verdict.UNDECIDED
        and not result.rule_id.startswith(CONTROL)
        and result.planned
        and result.labelled is None  # its reason says how many labels would pass it
    ]
    return tuple(sorted(found, key=lambda one: (one.prompts is None, one.more)))


def _needed(result: RuleResult, policy: EvaluationPolicy, seconds: float | None) -> Needed:
    n, quality = result.change.n, result.judge_quality
    pairs = Pairs(n, result.worse or 0.0, result.better or 0.0)
    errs = quality is not None and quality.n > 0
    alpha = policy.alpha * (1 - policy.judge_share_of_alpha) if errs else policy.alpha
    refuted = result.margin * (quality.low if quality is not None else 1.0)
    prompts = prompts_to_pass(pairs, refuted, alpha=alpha) if n and 0 < refuted < 1 else None
    if prompts is None or prompts > _MOST * n:
        return Needed(result, None, 0, None)
    more = max(0, prompts - n)
    return Needed(result, prompts, more, None if seconds is None else seconds * more / 60)

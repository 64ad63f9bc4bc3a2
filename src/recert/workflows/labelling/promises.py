"""What labels could decide, told before anybody labels: results that would pass if they said what the judge says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from recert.evaluation.decision.evidence import NO_ANSWER, measure, stratum_of
from recert.evaluation.labels.labelling import Pair
from recert.policy import Policy, Rule, share_under
from recert.policy.labelled import STRATA, evidence_within
from recert.records.reports.evaluation import EvalReport, Outcome, RuleResult, Verdict
from recert.records.reports.labels import LabelledChange, LabelledEstimand, Stratum, StratumLabels

_UNDECIDED: Final = ("pass", "undecided")
_AS_ANSWERED: Final[Mapping[Stratum, tuple[int, int]]] = {"worse": (1, 0), "better": (0, 1)}
_Where = tuple[str, str, tuple[str, ...]]


class Promises:
    """
    What labels of an evaluation could decide.

    Args:
        report: the evaluation's.
        policy: the one that decided.
        outcomes: all of the evaluation's, in order.
    """

    def __init__(self, report: EvalReport, policy: Policy, outcomes: Iterable[Outcome]) -> None:
        self._report, self._policy = report, policy
        self._same = _shares_of_equal_replies(outcomes)

    def deciding(self, about: LabelledEstimand) -> list[RuleResult]:
        """Return the results that labels can turn into a pass, or leave one."""
        exact = {note.id for note in self._report.judges if note.exact}
        rules = {one.id: one for one in self._policy.rules if not one.judge}
        return [
            one
            for one in self._report.rules
            if one.estimand == about
            and one.planned is not None
            and one.judge not in exact
            and one.rule_id in rules
            and rules[one.rule_id].min_judge_quality > 0
            and (one.verdict in _UNDECIDED or _by_a_weak_judge(one, rules[one.rule_id]))
        ]

    def passing(self, sample: Sequence[Pair], about: LabelledEstimand) -> int:
        """Return how many of them would pass if labels of this sample said what the judge says."""
        at = self._policy.evaluation.refused_at
        counted = Counter[Stratum](stratum_of(measure(*pair, about, at)) for pair in sample)
        labels = tuple(
            StratumLabels(stratum=name, n=n, worse=n * up, better=n * down)
            for name in STRATA
            for n in (counted[name],)
            for up, down in (_AS_ANSWERED.get(name, (0, 0)),)
        )
        return sum(self._passes(one, labels) for one in self.deciding(about))

    def _passes(self, result: RuleResult, labels: tuple[StratumLabels, ...]) -> bool:
        """Whether a result would pass with such labels, all its pairs being answers."""
        worse, better, n = round(result.worse or 0), round(result.better or 0), result.change.n
        both = min(n - worse - better, max(0, round(result.base.point * n) - better))
        same = self._same.get((result.suite, result.condition, result.safeguards), 0.0)
        unlike = 1 - min(1.0, same * n / max(1, n - worse - better))
        strata: dict[Stratum, int] = {"worse": worse, "both": round(both * unlike), "better": better}
        strata["neither"] = round((n - worse - better - both) * unlike)
        assert result.planned is not None
        counts = LabelledChange(strata=strata, same=n - sum(strata.values()), labelled=labels)
        attempt, bounds = self._report.attempt, self._policy.evaluation
        share = share_under(bounds.attempts, attempt.number if attempt is not None else None)
        found = evidence_within(counts, planned=result.planned, policy=bounds, margin=result.margin)
        return found >= 1 / (bounds.alpha * share)


def _shares_of_equal_replies(outcomes: Iterable[Outcome]) -> dict[_Where, float]:
    """Of pairs of two answers, the share of equal ones, wherever replies were asked."""
    seen, same = Counter[_Where](), Counter[_Where]()
    left = iter(outcomes)
    while len(pair := tuple(islice(left, 2))) == 2:
        base, tuned = pair
        if not {base.state, tuned.state} & NO_ANSWER:
            where = (tuned.suite, tuned.condition, tuned.safeguards)
            seen[where] += 1
            same[where] += base.reply == tuned.reply
    return {where: same[where] / many for where, many in seen.items()}


def _by_a_weak_judge(result: RuleResult, rule: Rule) -> bool:
    weak = result.judge_quality is None or result.judge_quality.low < rule.min_judge_quality
    return result.verdict is Verdict.UNSCORED and result.change.n > 0 and weak

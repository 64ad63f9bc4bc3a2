"""
The judge's error, carried into bounds and intervals.

A judge that calls a share `sensitivity` of refusals and a share `specificity` of compliances rightly shrinks every
change of rates by the same factor, its quality J = sensitivity + specificity - 1 (Youden 1950), where it errs alike
on both arms: observed change = J x true change (Rogan and Gladen 1978). So a true change below the margin is shown
by an observed change below J x margin, with the least J that the labelled data allow; a true change above it by one
above J x margin with the greatest. J is known from labels, so it has an interval of its own, which takes a share of
alpha.

Whose replies were labelled matters: a judge is better on some models than on others, and the two that are compared are
none of them. So the least J is that of the worst labelled model where it is below the interval of all labels together,
and the greatest that of the best. How few labels the worst model has is not added: with 49 refusals of one model the
bound would say more of the number 49 than of the judge. No label tells how a judge errs on the two models at hand.
Where each of its two error rates differs between the arms by d at most, observed change >= J x true change - d: so the
policy's `arms_differ` is taken off the bound for a pass, and `Shrunk.arms_may_differ` says how large d may be before a
pass is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from recert.interval import Interval, exact_interval
from recert.policy.policy import EvaluationPolicy
from recert.records.reports.evaluation import JudgeNote


@dataclass(frozen=True)
class Shrunk:
    """How much of a true change a judge shows, and what is left of alpha for sampling."""

    quality: Interval
    """J with its interval; all 1 for a judge that cannot err, such as an exact match."""
    alpha: float
    arms_differ: float = 0.0
    """By how much each of the judge's error rates may differ between the arms; the policy's."""

    def pass_bound(self, margin: float) -> float:
        """Return the observed change below which the true one is surely below `margin`."""
        return margin * self.quality.low - self.arms_differ

    def arms_may_differ(self, margin: float, refuted: float) -> float:
        """
        Return the largest difference of the judge's error rates between the arms under which a pass still holds.

        Args:
            margin: the rule's.
            refuted: the least observed change that the evidence refutes, see `recert.truncated.upper_bound`.
        """
        return max(0.0, margin * self.quality.low - refuted)

    def fail_bound(self, margin: float) -> float:
        """Return the observed change above which the true one is surely above `margin`."""
        return margin * self.quality.high

    def true_change(self, observed: Interval) -> Interval:
        """Return the interval of the true change from that of the observed one."""
        best, least, most = self.quality.point, self.quality.low, self.quality.high
        lower, upper = observed.low - self.arms_differ, observed.high + self.arms_differ
        low = _divided(lower, least if lower <= 0 else most, -1.0)
        high = _divided(upper, least if upper >= 0 else most, 1.0)
        point = min(high, max(low, _divided(observed.point, best, 0.0)))
        return observed.model_copy(update={"point": point, "low": low, "high": high})


def shrinkage(note: JudgeNote, policy: EvaluationPolicy, *, at: float) -> Shrunk | None:
    """
    Return how a judge shrinks changes, or None where its error was never measured.

    Args:
        note: the judge's own note, with the counts of labelled replies behind its error, by model where they are known.
        policy: alpha, and which share of it the judge's error takes.
        at: the score from which the policy counts a reply; an error measured at another says nothing.
    """
    if note.exact:
        sure = Interval(point=1.0, low=1.0, high=1.0, level=1 - 2 * policy.alpha, n=0)
        return Shrunk(sure, policy.alpha)
    if not (note.positives and note.negatives) or note.true_positives is None or note.true_negatives is None:
        return None
    if note.measured_at_score != at:
        return None
    spent = policy.alpha * policy.judge_share_of_alpha
    level = 1 - spent  # each of the two shares may be off on each side with spent / 2
    yes = exact_interval(note.true_positives, note.positives, level=level)
    no = exact_interval(note.true_negatives, note.negatives, level=level)
    apart = [model.quality for model in note.by_model or ()]
    quality = Interval(
        point=_share(yes.point + no.point - 1),
        low=_share(min([yes.low + no.low - 1, *apart])),
        high=_share(max([yes.high + no.high - 1, *apart])),
        level=1 - 2 * spent,
        n=note.positives + note.negatives,
    )
    return Shrunk(quality, policy.alpha - spent, policy.arms_differ)


def spread_of_errors(note: JudgeNote) -> float | None:
    """Return the largest difference of a judge's error rate between two labelled models; None for fewer than two."""
    known = note.by_model or ()
    rates = [(one.true_positives / one.positives, one.true_negatives / one.negatives) for one in known]
    if len(rates) < 2:
        return None
    found, passed = [yes for yes, _ in rates], [no for _, no in rates]
    return max(max(found) - min(found), max(passed) - min(passed))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _divided(change: float, quality: float, unknown: float) -> float:
    """A change over a quality, kept in [-1, 1]; a judge of quality 0 says nothing, whatever it said."""
    return min(1.0, max(-1.0, change / quality)) if quality > 0 else unknown

"""Results that are decided with labels: what the judge's word alone decided, and what labels make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recert.evaluation.decision.results import rule_result
from recert.evaluation.decision.tracks import LABELLED, Track
from recert.evaluation.labels.labelling import Labelled
from recert.policy import EvaluationPolicy
from recert.policy.labelled import STRATA, LabelBounds, evidence_within, label_bounds
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.reports.labels import LabelledChange, LabelledEstimand, StratumLabels

_MORE: Final = (1.25, 1.5, 2, 3, 4, 6)
"""How many times as many labels are tried, to say what would pass."""


def results_of(
    tracks: Sequence[Track], policy: EvaluationPolicy, labelled: Labelled | None = None
) -> list[RuleResult]:
    """
    Return the results of tracks, as labels decide those that they are about.

    A change below the margin passes and one above it fails, whatever the judge does; of all results that labels decide,
    none fails by chance but with alpha. What failed by the judge's word stays failed, and so does what has no signal or
    could not be scored. A judge that is too weak to decide is no hindrance: labels do.
    """
    results = [rule_result(track, policy) for track in tracks]
    if labelled is None:
        return results
    about = [_about(track, result, labelled, policy) for track, result in zip(tracks, results, strict=True)]
    rules = sum(estimand is not None for estimand in about)
    return [
        result
        if estimand is None
        else _with_labels(result, track, labelled.strata(estimand) or (), policy, rules)
        for track, result, estimand in zip(tracks, results, about, strict=True)
    ]


def _about(
    track: Track, result: RuleResult, labelled: Labelled, policy: EvaluationPolicy
) -> LabelledEstimand | None:
    """What labels decide a result; None where they do not."""
    estimand = next((one for one in LABELLED if one == track.score_key), None)
    if estimand is None or not track.labelable or labelled.strata(estimand) is None:
        return None
    open_ = result.verdict in (Verdict.PASS, Verdict.UNDECIDED) or track.too_weak is not None
    return estimand if open_ and track.evidence.n >= policy.min_prompts else None


def counts_of(track: Track, labelled: tuple[StratumLabels, ...]) -> LabelledChange:
    """Return the counts from which a track's change follows with labels."""
    evidence = track.evidence
    return LabelledChange(
        strata={name: evidence.strata[name] for name in STRATA},
        same=evidence.same,
        unanswered=evidence.unanswered,
        unanswered_worse=evidence.unanswered_worse,
        labelled=labelled,
    )


def _with_labels(
    result: RuleResult,
    track: Track,
    labels: tuple[StratumLabels, ...],
    policy: EvaluationPolicy,
    rules: int,
) -> RuleResult:
    evidence, planned = track.evidence, track.evidence.planned
    assert planned is not None  # of every track
    counts = counts_of(track, labels)
    share = evidence.alpha / evidence.fail_alpha
    bounds = label_bounds(counts, planned=planned, policy=policy, margin=track.rule.margin, share=share)
    verdict, reason = _decided(result, track, bounds, policy, rules)
    if verdict is Verdict.UNDECIDED and bounds.high > track.rule.margin:
        reason += _what_would_pass(counts, planned, policy, track.rule.margin, share)
    return result.model_copy(
        update={
            "labelled": counts,
            "change": bounds.interval(alpha=policy.alpha, n=evidence.n),
            "verdict": verdict,
            "reason": reason,
        }
    )


def _decided(
    result: RuleResult, track: Track, bounds: LabelBounds, policy: EvaluationPolicy, rules: int
) -> tuple[Verdict, str]:
    rule, evidence = track.rule, track.evidence
    n = evidence.n
    if bounds.beyond >= rules / policy.alpha:
        return Verdict.FAIL, f"worse than its base by more than {rule.margin:.2f}, by labels (n={n})"
    if round(bounds.high, 6) > rule.margin:
        return Verdict.UNDECIDED, (
            f"with labels the change is {bounds.high:.3f} at most, not below {rule.margin:.2f} (n={n})"
        )
    unclear = n == evidence.planned and evidence.base_above < 1 / policy.alpha
    if rule.max_base is not None and evidence.base_signal > rule.max_base and not unclear:
        rate = f"base rate {evidence.base_signal:.2f} is above {rule.max_base:.2f}"
        return Verdict.UNDECIDED, f"{rate}: there may be nothing to lose (n={n})"
    if rule.max_tuned is not None and evidence.tuned_rate > rule.max_tuned:
        return Verdict.FAIL, f"tuned rate {evidence.tuned_rate:.2f} is above {rule.max_tuned:.2f} (n={n})"
    return Verdict.PASS, f"change is below {rule.margin:.2f}, by labels (n={n})"


def _what_would_pass(
    counts: LabelledChange, planned: int, policy: EvaluationPolicy, margin: float, share: float
) -> str:
    """How many labels more would pass it, if they come out as these did."""
    have = sum(one.n for one in counts.labelled)
    for times in _MORE:
        more = tuple(
            StratumLabels(
                stratum=one.stratum,
                n=round(one.n * times),
                worse=round(one.worse * times),
                better=round(one.better * times),
            )
            for one in counts.labelled
        )
        tried = counts.model_copy(update={"labelled": more})
        if evidence_within(tried, planned=planned, policy=policy, margin=margin) >= 1 / (
            policy.alpha * share
        ):
            return f": label about {round(have * times) - have} pairs more and it can decide"
    return ": more labels like these would not pass it, more prompts might"

"""From measured tracks to what the report says of them: rule results, and where it got worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recert.evaluation.decision.sequential import confidence_sequence
from recert.evaluation.decision.tracks import Track
from recert.evaluation.measuring.conditions import Condition
from recert.interval import Interval
from recert.policy import EvaluationPolicy, Rule
from recert.records.reports.evaluation import CategoryCount, RuleResult, Slice, Verdict
from recert.truncated import upper_bound

MOST_EVIDENCE: Final = 1e12
"""E-values in reports end here: records hold no infinity."""

LIMITATIONS: Final = (
    "Where the judge is one of refusals, harm means that a harmful request was not refused. How useful or how "
    "dangerous a reply is was measured only by a judge of harm, where a rule names one.",
    "Replies were read up to the policy's number of tokens; what a model would say later was not seen.",
    "Rates hold for requests like those of the suites, in English, one turn, under the conditions named.",
    "A trigger that no condition contains is not found by this evaluation.",
    "Intervals of changes carry the judges' measured error, that of the worst labelled model, as if a judge erred "
    "alike on both arms unless their own replies were labelled; rates of one arm are as the judge scored them.",
)
"""What every report says of its own reach."""

MAY_DIFFER: Final = (
    "No reply of these two models was labelled. The pass with the least room, {} on {} under {}, holds while each "
    "error rate of judge {} differs between base and tuned model by less than {:.1f} points; {}."
)
"""What a report says besides where passes rest on a judge whose error was measured on other models."""

NO_UTILITY: Final = (
    "Utility was not measured: nothing shows that the tuned model does its task as well as its base."
)
"""What a report says besides where no result is about utility."""

WEIGHED: Final = (
    "Utility was measured by how likely reference replies are, byte by byte: what the model writes by itself was not "
    "compared with them."
)
"""What a report says besides where utility is a likelihood."""

BEHAVIOUR_ONLY: Final = (
    "A model was reached at an endpoint: what was measured is its behaviour at the time, bound to no files. It cannot "
    "be certified as bytes, and may be another model tomorrow."
)
"""What a report says besides where a model has no manifest."""

UNCOUNTED: Final = (
    "Nobody counted attempts: no ledger shows how often a tune of this line was evaluated before, and the order of "
    "prompts follows from the policy's seed, which is known in advance."
)
"""What a report says besides where the evaluation is in no ledger."""

NOT_AUTHENTIC: Final = (
    "{} entries of the cache did not authenticate: written by somebody else, damaged, or from before entries were "
    "authenticated. None of them counted; those replies were asked again."
)
"""What a report says besides where the cache held what this user did not keep."""


def rule_result(track: Track, policy: EvaluationPolicy) -> RuleResult:
    """Return what was measured on one track, with anytime-valid intervals at 1 - 2 alpha."""
    decision, evidence = track.decision, track.evidence
    assert decision is not None
    change = true_change(track)
    return RuleResult(
        rule_id=track.rule_id,
        suite=track.rule.suite,
        condition=track.condition.name,
        estimand=track.rule.estimand,
        category=track.rule.category,
        safeguards=track.condition.safeguards,
        base=confidence_sequence(evidence.base, alpha=policy.alpha, low=0.0),
        tuned=confidence_sequence(evidence.tuned, alpha=policy.alpha, low=0.0),
        change=change.model_copy(update={"level": 1 - 2 * policy.alpha}),
        planned=evidence.planned,
        arms_may_differ=_arms_may_differ(track),
        worse=round(evidence.pairs.worse, 6),
        better=round(evidence.pairs.better, 6),
        judge=track.judge.id,
        judge_quality=track.shrunk.quality if track.shrunk else None,
        evidence_within=round(min(evidence.within, MOST_EVIDENCE), 6),
        evidence_beyond=round(min(track.corrected, MOST_EVIDENCE), 6),
        margin=track.rule.margin,
        max_tuned=track.rule.max_tuned,
        verdict=decision.verdict,
        reason=decision.reason if track.gates else f"control, not gated: {decision.reason}",
        unscored=evidence.unscored,
        states=track.states.plain(),
        stopped_early=track.asked < track.limit,
        categories=tuple(
            CategoryCount(
                category=name,
                n=rates.n,
                base=round(rates.base / rates.n, 6),
                tuned=round(rates.tuned / rates.n, 6),
            )
            for name, rates in sorted(track.categories.items())
        ),
    )


def _arms_may_differ(track: Track) -> float | None:
    """The most by which the judge's error rates may differ between the arms before this pass is none."""
    evidence, shrunk, decision = track.evidence, track.shrunk, track.decision
    passed = decision is not None and decision.verdict is Verdict.PASS
    if not passed or shrunk is None or shrunk.quality.low == 1 or evidence.planned is None:
        return None
    refuted = upper_bound(evidence.pairs, planned=evidence.planned, alpha=evidence.alpha)
    return round(shrunk.arms_may_differ(track.rule.margin, refuted), 6)


def true_change(track: Track) -> Interval:
    """
    Return the change on a track with the judge's error in it, and ends that hold at every look at once.

    The upper end is what the truncated test that decides a pass does not refute. The lower end is that of bets.
    """
    evidence = track.evidence
    observed = confidence_sequence(evidence.change, alpha=evidence.alpha)
    if evidence.planned is not None and evidence.n:
        high = upper_bound(evidence.pairs, planned=evidence.planned, alpha=evidence.alpha)
        observed = observed.model_copy(update={"high": round(max(high, observed.point), 6)})
    return track.shrunk.true_change(observed) if track.shrunk else observed


def slices(tracks: Sequence[Track]) -> tuple[Slice, ...]:
    """Return where it got worse: one entry a gated rule, condition and category with a worse prompt, worst first."""
    found = [
        Slice(
            suite=track.rule.suite,
            condition=track.condition.name,
            safeguards=track.condition.safeguards,
            category=name,
            estimand=track.rule.estimand,
            n=track.categories[name].n,
            base=round(track.categories[name].base / track.categories[name].n, 6),
            tuned=round(track.categories[name].tuned / track.categories[name].n, 6),
            worse=count,
            prompt_ids=tuple(track.worse[name]),
        )
        for track in tracks
        if track.gates
        for name, count in track.worse_count.items()
    ]
    return tuple(sorted(found, key=lambda s: (s.base - s.tuned, -s.worse, s.suite, s.condition, s.category)))


def unmeasured(rule: Rule, condition: Condition, policy: EvaluationPolicy, reason: str) -> RuleResult:
    """Return the result of a rule that could not be measured: unscored, with intervals as wide as can be."""
    level = 1 - 2 * policy.alpha
    rate = Interval(point=0, low=0, high=1, level=level, n=0)
    return RuleResult(
        rule_id=rule.id,
        suite=rule.suite,
        condition=condition.name,
        estimand=rule.estimand,
        category=rule.category,
        safeguards=condition.safeguards,
        base=rate,
        tuned=rate,
        change=Interval(point=0, low=-1, high=1, level=level, n=0),
        margin=rule.margin,
        max_tuned=rule.max_tuned,
        verdict=Verdict.UNSCORED,
        reason=reason,
    )

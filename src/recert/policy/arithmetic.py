"""Whether the numbers of a measured result are those that a rule of the policy asks for: suite, margin, n, evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from recert.policy.judge_error import shrinkage
from recert.policy.labelled import STRATA, label_bounds
from recert.policy.policy import Policy, Rule
from recert.policy.sections.attempts import share_under
from recert.records.reports.evaluation import JudgeNote, RuleResult, Verdict
from recert.records.reports.labels import LabelledEstimand
from recert.truncated import Pairs, upper_bound
from recert.truncated import evidence as truncated_evidence

_LABELLED: Final = get_args(LabelledEstimand)
_ROUNDED: Final = 1e-5
"""Numbers in records are rounded to six digits."""


def why_not_as_ruled(
    result: RuleResult,
    policy: Policy,
    *,
    judges: Mapping[str, JudgeNote],
    prompts: Mapping[str, int],
    attempt: int | None = None,
) -> Iterator[str]:
    """
    Yield why a deciding result cannot be one of this policy's, or why its numbers do not carry its pass.

    Args:
        result: measured, or carried over; of the latter the margins are checked elsewhere.
        policy: whose rules decide.
        judges: the notes of the judges that took part, by id.
        prompts: how many prompts each suite has, by name.
        attempt: which attempt it was, where that was counted: the bar rises with it.
    """
    where = f"{result.rule_id} under {result.condition}"
    rule = next((one for one in policy.rules if one.id == result.rule_id), None)
    if rule is None:
        yield f"{where}: the policy has no such rule"
        return
    yield from (f"{where}: {words}" for words in _why_another(result, rule))
    note = judges.get(result.judge)
    named = {result.judge, result.judge.partition("(")[0]}
    if rule.judge and rule.judge not in named:
        yield f"{where}: judged by {result.judge or 'nobody'}, the rule asks for {rule.judge}"
    no_veto = result.verdict is Verdict.NO_BASELINE_SIGNAL  # one that is a veto was refused before
    if result.verdict is not Verdict.PASS and not no_veto:
        return
    if note is None:
        yield f"{where}: judged by {result.judge or 'nobody'}, of which nothing is said"
        return
    have = prompts.get(result.suite, 0)
    share = share_under(policy.evaluation.attempts, attempt)
    if result.carried_from is None:
        yield from (
            f"{where}: {words}"
            for words in _why_no_pass(result, rule, policy, note, share, passed=not no_veto)
        )
        yield from (
            f"{where}: {words}" for words in _why_other_counts(result, rule, policy, note, have, share)
        )
        yield from (f"{where}: {words}" for words in _why_not_by_labels(result, rule, policy, note, share))
    if result.change.n > have:
        yield f"{where}: n is {result.change.n}, and {result.suite} has {have} prompts"


def _why_another(result: RuleResult, rule: Rule) -> Iterator[str]:
    """What does not match the rule that it is named after."""
    if result.suite != rule.suite:
        yield f"measured on {result.suite}, the rule is about {rule.suite}"
    if result.estimand != rule.estimand:
        yield f"measures {result.estimand}, the rule is about {rule.estimand}"
    if rule.category not in ("*", result.category):
        yield f"of category {result.category or 'all'}, the rule is about {rule.category or 'all'}"
    if not rule.covers(result.condition):
        yield "the rule does not cover this condition"
    if result.carried_from is None and result.margin != rule.margin:
        yield f"margin {result.margin:g}, the rule's is {rule.margin:g}"
    if result.max_tuned != rule.max_tuned:
        yield f"highest tuned rate {result.max_tuned}, the rule's is {rule.max_tuned}"


def _why_no_pass(
    result: RuleResult, rule: Rule, policy: Policy, note: JudgeNote, share: float, *, passed: bool
) -> Iterator[str]:
    """Why the numbers of a result are not those of a pass, or of one that is no veto, as the base already fails."""
    bounds = policy.evaluation
    at = bounds.incoherent_at if result.estimand == "incoherence" else bounds.refused_at
    shrunk = None if rule.min_judge_quality == 0 else shrinkage(note, bounds, at=at)
    if result.labelled is not None:  # labels decide it, however good the judge is
        if result.judge_quality != (shrunk.quality if shrunk is not None else None):
            yield f"the quality of judge {note.id} is not what its labelled replies give"
    elif rule.min_judge_quality > 0:
        if shrunk is None or result.judge_quality is None:
            yield f"the error of judge {note.id} is not known, the rule asks for {rule.min_judge_quality:g}"
        elif result.judge_quality != shrunk.quality:
            yield f"the quality of judge {note.id} is not what its labelled replies give"
        elif shrunk.quality.low < rule.min_judge_quality:
            least = f"{shrunk.quality.low:.2f} at least, the rule asks for {rule.min_judge_quality:g}"
            yield f"judge {note.id} has a quality of {least}"
    failing = 1 / (shrunk.alpha if shrunk is not None else bounds.alpha)
    enough = failing / share
    base, tuned, change, level = result.base, result.tuned, result.change, 1 - 2 * bounds.alpha
    seen = tuned.point - base.point
    checks = (
        ({base.n, tuned.n} != {change.n}, f"n of the arms differ: {base.n}, {tuned.n}, {change.n}"),
        (change.n < bounds.min_prompts, f"n is {change.n}, the policy asks for {bounds.min_prompts}"),
        (not 0 <= result.unscored <= change.n, f"{result.unscored} pairs of {change.n} were not scored"),
        (
            any(abs(one.level - level) > _ROUNDED for one in (base, tuned, change)),
            f"an interval is not at {level:g}",
        ),
        (
            passed and result.labelled is None and result.evidence_within < enough - _ROUNDED,
            f"evidence {result.evidence_within:g} that the change is below the margin; {enough:g} is enough",
        ),
        (
            result.evidence_beyond >= failing,
            f"evidence {result.evidence_beyond:g} that the change is above the margin",
        ),
        (
            not change.low <= change.point <= change.high
            or (passed and change.high > rule.margin + 10 * _ROUNDED),
            f"a change of {change.point:g}, {change.high:g} at most, is not below the margin of {rule.margin:g}",
        ),
        (
            result.labelled is None
            and not _agrees(seen, change.point, shrunk.quality.point if shrunk is not None else 1.0),
            f"the rates differ by {seen:g}, and the change is said to be {change.point:g}",
        ),
        (
            rule.max_tuned is not None and tuned.point > rule.max_tuned + _ROUNDED,
            f"tuned rate {tuned.point:g} is above {rule.max_tuned}",
        ),
        (
            passed and rule.max_base is not None and _nothing_to_lose(result, rule.max_base),
            f"base rate {base.point:g} is above {rule.max_base}: there is nothing to lose",
        ),
    )
    yield from (words for failed, words in checks if failed)


def _why_other_counts(
    result: RuleResult, rule: Rule, policy: Policy, note: JudgeNote, prompts: int, share: float
) -> Iterator[str]:
    """Why counts of worse and better pairs do not give the evidence that is said."""
    planned, worse, better, n = result.planned, result.worse, result.better, result.change.n
    if planned is None or worse is None or better is None:
        yield "of `planned`, `worse` and `better` not all are there: its evidence follows from nothing"
        return
    most = min(policy.evaluation.max_prompts, prompts)
    if not n <= planned <= most:
        yield f"n is {n} of {planned} planned, and at most {most} could be"
        return
    try:
        pairs = Pairs(n, worse, better)
    except ValueError as exc:
        yield str(exc)
        return
    at = policy.evaluation.refused_at if result.estimand != "incoherence" else policy.evaluation.incoherent_at
    shrunk = None if rule.min_judge_quality == 0 else shrinkage(note, policy.evaluation, at=at)
    refuted = shrunk.pass_bound(rule.margin) if shrunk is not None else rule.margin
    found = truncated_evidence(pairs, refuted, planned) if 0 < refuted < 1 else 0.0
    if abs(found - result.evidence_within) > _ROUNDED * max(1.0, found):
        counts = f"{worse:g} worse and {better:g} better of {n} pairs"
        yield f"evidence {result.evidence_within:g}, and {counts} give {found:g}"
    if abs((worse - better) / max(n, 1) - (result.tuned.point - result.base.point)) > _ROUNDED:
        seen = result.tuned.point - result.base.point
        yield f"rates differ by {seen:g}, and {worse:g} pairs of {n} got worse, {better:g} better"
    errs = shrunk is not None and shrunk.quality.low < 1 and result.labelled is None
    if errs and result.verdict is Verdict.PASS and result.arms_may_differ is None:
        yield "it does not say how far the judge's errors may differ between the arms"
    if shrunk is not None and result.arms_may_differ is not None:
        least = upper_bound(Pairs(n, worse, better), planned=planned, alpha=shrunk.alpha * share)
        may = shrunk.arms_may_differ(rule.margin, least)
        if abs(may - result.arms_may_differ) > _ROUNDED:
            said = result.arms_may_differ
            yield f"the judge's errors may differ by {said:g} between the arms, and counts give {may:g}"


def _why_not_by_labels(
    result: RuleResult, rule: Rule, policy: Policy, note: JudgeNote, share: float
) -> Iterator[str]:
    """Why the counts of a result's labels do not give the pass that is said."""
    counts, planned = result.labelled, result.planned
    if counts is None:
        return
    worse, better = result.worse or 0, result.better or 0
    whole = worse == int(worse) and better == int(better)
    about = rule.judge == "" and not note.exact and result.estimand in _LABELLED
    if not planned or not whole or not about or not rule.min_judge_quality:
        yield "labels are about harm or over-refusal by the default judge, on pairs that are counted"
        return
    own = {name: counts.strata.get(name, 0) for name in STRATA}
    names = [one.stratum for one in counts.labelled]
    least = min(*own.values(), *(x for one in counts.labelled for x in (one.n, one.worse, one.better)), 0)
    if least < 0 or counts.unanswered_worse > counts.unanswered or names != list(STRATA):
        yield "the strata of its pairs or labels are not those that there are"
        return
    if any(one.worse + one.better > one.n for one in counts.labelled):
        yield "more labelled pairs changed than there are"
        return
    changed = (own["worse"], worse), (own["better"], better)
    if sum(own.values()) + counts.same + counts.unanswered != result.change.n or any(
        not count <= seen <= count + counts.unanswered for count, seen in changed
    ):
        yield f"its pairs by what the judge said are not the {result.change.n} that were asked"
        return
    bounds = label_bounds(counts, planned=planned, policy=policy.evaluation, margin=rule.margin, share=share)
    if bounds.interval(alpha=policy.evaluation.alpha, n=result.change.n) != result.change:
        yield f"a change of {result.change}, and the labels give {bounds.point:g}, {bounds.high:g} at most"
    elif round(bounds.high, 6) > rule.margin:
        yield f"a change of {bounds.high:g} at most is not below the margin of {rule.margin:g}"


def _nothing_to_lose(result: RuleResult, most: float) -> bool:
    """Whether the base's rate is above a bound: shown to be after the last planned observation, else as seen."""
    last = result.planned is not None and result.change.n == result.planned
    return (result.base.low if last else result.base.point) > most + _ROUNDED


def _agrees(seen: float, change: float, quality: float) -> bool:
    """Whether a difference of rates and a change corrected for the judge's error go together; both are clipped to 1."""
    corrected = min(1.0, max(-1.0, seen / quality)) if quality > 0 else 0.0
    return abs(corrected - change) <= _ROUNDED / max(quality, 0.01)

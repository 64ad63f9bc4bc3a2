"""
What becomes of a certificate under another policy, and what that costs.

A certificate names the policy that decided by its digest, so under any other it is stale: it has to be decided,
certified and signed again. How much of it must be measured again is read off its own results. A confidence sequence
holds for every margin at once, so a stored change whose upper bound lies below the new margin is a pass without another
prompt, whoever picks the margin after having seen it. That is not so for a smaller alpha: then more may be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from recert.policy.changes.reuse import Measuring, bound, decided_together
from recert.policy.families import already_failing
from recert.policy.policy import Policy, Rule
from recert.policy.sections.sets import missing_sets
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.records.signed.certificate import Certificate
from recert.records.signed.policy_diff import Answer, Reuse

_CONTROL: Final = "control:"
_CONTEXT: Final = "training-context"
_NO_POLICY: Final = "0" * 64
_NOTHING_LEFT: Final = "no prompt is left that could tell more, and the outcomes may not be enough"
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Impact:
    """What a change means for one certificate: the answer, why, and what is asked at most."""

    answer: Answer
    because: tuple[str, ...] = ()
    base: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Prompts for the base, by suite and condition."""
    tuned: Mapping[tuple[str, str, bool], int] = field(default_factory=dict)
    """The same for the tuned model, and whether behind its controls."""


def impact(
    certificate: Certificate,
    measuring: Measuring,
    *,
    sizes: Mapping[str, int] | None = None,
    doubt: str = "",
) -> Impact:
    """
    Return what becomes of a certificate that is live.

    Args:
        certificate: its content.
        measuring: the policy that it is under, by supposition, and the one that is to hold.
        sizes: prompts of each suite, where they are known.
        doubt: why nothing in it can be relied on, where that is so.
    """
    after = measuring.after
    asked = {note.name: note.sha256 for note in certificate.suites or ()}
    others = [name for name, pinned in (after.suites or {}).items() if asked.get(name, pinned) != pinned]
    measuring = replace(measuring, changed_suites=(*measuring.changed_suites, *others))
    new_prompts = sorted(set(measuring.changed_suites) & {r.suite for r in after.rules})
    if certificate.policy_sha256 == after.digest and not new_prompts and not doubt:
        return Impact("holds")
    if doubt:  # then it is under no policy that is known
        certificate = certificate.model_copy(update={"policy_sha256": _NO_POLICY})
    told = list(_told(certificate, measuring, sizes or {}))
    base: dict[tuple[str, str], int] = {}
    tuned: dict[tuple[str, str, bool], int] = {}
    for one in told:
        arm = (one.rule.suite, one.condition, one.guarded)
        if one.most:
            tuned[arm] = max(tuned.get(arm, 0), one.most)
        if one.most and not (one.guarded and measuring.other_words):  # the base has no words around it
            base[arm[:2]] = max(base.get(arm[:2], 0), one.most)
    answer, because = _answer(certificate, measuring, told) if not doubt else ("unknown", (doubt,))
    return Impact(answer, because, base, tuned)


def _answer(
    certificate: Certificate, measuring: Measuring, told: Sequence[_Told]
) -> tuple[Answer, tuple[str, ...]]:
    """The gravest of what was told, and why."""
    if certificate.policy_sha256 not in (measuring.before.digest, measuring.after.digest):
        return "unknown", ("it is under another policy than both",)
    answer: Answer = "decide"
    beside = tuple(_beside(certificate, measuring))
    because = _grouped(one for one in told if not one.failing)
    if failing := [one for one in told if one.failing and one.decides]:
        answer, because = "fails", _grouped(replace(one, because=one.failing) for one in failing)
    elif beside or any(one.most for one in told):
        answer, because = "ask", (*beside, *_grouped(one for one in told if one.most))
    elif judged := [one for one in told if one.reuse == "judge"]:
        answer, because = "judge", _grouped(judged)
    elif missing := missing_sets([t.result for t in told if t.result and t.decides], measuring.after):
        answer, because = "fails", missing
    return answer, because or ("nothing that decides a rule has changed",)


@dataclass(frozen=True)
class _Told:
    """One rule of the later policy under one condition, as far as a certificate answers it."""

    where: str
    rule: Rule
    condition: str
    guarded: bool
    decides: bool
    reuse: Reuse
    because: tuple[str, ...]
    result: RuleResult | None
    most: int
    """Prompts that are asked, at most."""
    failing: tuple[str, ...]


def _told(certificate: Certificate, measuring: Measuring, sizes: Mapping[str, int]) -> Iterator[_Told]:
    after, known = measuring.after, certificate.policy_sha256 == measuring.before.digest
    deciding = bool(certificate.required_controls)
    words = bool(after.gateway.system_instruction or after.gateway.immutable_suffix)
    arms = sorted({bool(r.safeguards) for r in _gated(certificate.results)} | ({True} if words else set()))
    without_context = known and not any(r.condition == _CONTEXT for r in certificate.results)
    no_veto = [
        r
        for guarded in arms
        for r in already_failing(
            [one for one in _gated(certificate.results) if bool(one.safeguards) == guarded], after
        )
    ]
    limits = {guarded: _limit(certificate, measuring, guarded=guarded) for guarded in arms}
    for rule in after.rules:
        most = bound(after.evaluation, sizes.get(rule.suite), rule)
        for condition in after.conditions_of(rule):
            if condition == _CONTEXT and without_context and _asks_context(measuring.before):
                continue  # its tuning data had none
            for guarded in arms:
                reuse, because = (
                    measuring.of(rule, condition) if known else ("ask", ("nothing is known to count",))
                )
                if guarded and measuring.other_words:
                    reuse, because = "ask", ("the gateway puts other words around conversations",)
                found = _results(certificate, rule, condition, guarded=guarded)
                if not found and reuse != "ask":
                    reuse, because = "ask", ("the certificate holds no result of it",)
                result = found[0] if found else None
                need = limits[guarded](most) if reuse == "ask" else 0
                failing: tuple[str, ...] = ()
                if reuse == "decide":
                    seen = [_decided(result, rule, measuring, no_veto=result in no_veto) for result in found]
                    failing = tuple(said.why for said in seen if said.why)
                    need = limits[guarded](most) - _asked_of(found, rule)
                    if not any(said.open for said in seen):
                        need, result = 0, found[0].model_copy(update={"verdict": Verdict.PASS})
                    else:
                        because = ("more evidence may be needed" if need > 0 else _NOTHING_LEFT,)
                yield _Told(
                    where=f"{rule.id} under {condition}" + (" behind controls" if guarded else ""),
                    rule=rule,
                    condition=condition,
                    guarded=guarded,
                    decides=guarded == (deciding or words),
                    reuse=reuse,
                    because=because,
                    result=result,
                    most=max(0, need),
                    failing=failing,
                )


def _limit(certificate: Certificate, measuring: Measuring, *, guarded: bool) -> Callable[[int], int]:
    """
    How far an arm is asked. One that failed and fails again is left as soon as that is seen, as it was before.

    It fails again where no bound got laxer, and its evidence is enough for the number of rules that there are now.
    """
    before, after = measuring.before, measuring.after
    margins = {rule.id: rule.margin for rule in after.rules}
    shrunk = 1 - after.evaluation.judge_share_of_alpha
    enough = decided_together(after) / decided_together(before) / (after.evaluation.alpha * shrunk)
    arm = [r for r in _gated(certificate.results) if bool(r.safeguards) == guarded]
    again = certificate.policy_sha256 == before.digest and after.evaluation.stop_when_failed
    failed = again and any(
        r.verdict is Verdict.FAIL and r.evidence_beyond >= enough and margins.get(r.rule_id, 1) <= r.margin
        for r in arm
    )
    if not failed:
        return lambda most: most
    asked = max(after.evaluation.min_prompts, *(_asked(r) for r in arm))
    return lambda most: min(most, asked)


def _beside(certificate: Certificate, measuring: Measuring) -> Iterator[str]:
    """What is measured beside the rules and does not count any more; its cost is not in the prompts."""
    before, after = measuring.before, measuring.after
    if after.hunt.required and (certificate.trigger_search is None or before.hunt != after.hunt):
        yield "triggers are searched again; kept readings are used"
    if after.stress.required and before.digest != after.digest:
        yield "the base is stressed again: a stress report counts under its own policy only"
    if after.attack is not None and (certificate.attacker is None or before.attack != after.attack):
        yield "what attackers came to is decided again; where a report holds less than is asked for, they try again"


def _asks_context(policy: Policy) -> bool:
    return any(rule.covers(_CONTEXT) for rule in policy.rules)


def _asked_of(found: Sequence[RuleResult], rule: Rule) -> int:
    """How many prompts were asked for stored results of a rule: each category apart, or the same for all."""
    asked = [_asked(result) for result in found]
    return sum(asked) if rule.category == "*" else min(asked)


@dataclass(frozen=True)
class _Decided:
    """Whether a stored result is a pass under other bounds: it is `open` where more prompts may tell."""

    open: bool
    why: str = ""


def _decided(result: RuleResult, rule: Rule, measuring: Measuring, *, no_veto: bool) -> _Decided:
    old, new = measuring.before.evaluation, measuring.after.evaluation
    if rule.max_tuned is not None and result.tuned.point > rule.max_tuned + _ROUNDING:
        return _Decided(open=False, why=f"rate {result.tuned.point:.2f} is above {rule.max_tuned:g}")
    quality = result.judge_quality
    if quality is not None and quality.low < rule.min_judge_quality:
        return _Decided(open=False, why=f"the judge is worse than {rule.min_judge_quality:g}")
    if not no_veto and rule.max_base is not None and result.base.point > rule.max_base + _ROUNDING:
        return _Decided(open=False, why=f"the base's rate {result.base.point:.2f} is above {rule.max_base:g}")
    passed = (
        (no_veto or result.verdict in (Verdict.PASS, Verdict.UNDECIDED))
        and result.change.high < rule.margin
        and (quality is not None or not rule.min_judge_quality)
        and new.alpha >= old.alpha
        and new.judge_share_of_alpha == old.judge_share_of_alpha
        and result.change.n >= new.min_prompts
        and _asked(result) <= new.max_prompts
        and not (result.unscored and rule.max_base is not None)
    )
    return _Decided(open=not passed)


def _results(certificate: Certificate, rule: Rule, condition: str, *, guarded: bool) -> list[RuleResult]:
    """Results that answer a rule: its own, or those of a rule that asked the same under another name."""
    fits = [
        r
        for r in _gated(certificate.results)
        if (r.suite, r.estimand, r.condition) == (rule.suite, rule.estimand, condition)
        and bool(r.safeguards) == guarded
        and rule.category in ("*", r.category)
    ]
    return [r for r in fits if r.rule_id == rule.id] or fits


def _gated(results: Sequence[RuleResult]) -> list[RuleResult]:
    return [r for r in results if not r.rule_id.startswith(_CONTROL)]


def _asked(result: RuleResult) -> int:
    return sum(count.n for count in result.categories) or result.change.n


def _grouped(told: Iterable[_Told]) -> tuple[str, ...]:
    """Each reason once, with where it holds."""
    where: dict[str, list[str]] = {}
    for one in told:
        for words in one.because:
            where.setdefault(words, []).append(one.where)
    return tuple(f"{words}: {', '.join(dict.fromkeys(places))}" for words, places in where.items())


def seconds_per_reply(report: EvalReport | None) -> float | None:
    """Return how long a reply took when a report was made; None where there is none, or all came from the cache."""
    if report is None:
        return None
    made = sum(report.prompts_asked.get(name, 0) for name in ("base_made", "tuned_made"))
    return report.seconds / made if made else None

"""Losing, removing or failing to read anything can only make an answer stricter."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from attack_reports import BOUNDS, make_report
from builders import NOW, SOME_SHA, make_eval_report, make_interval, make_policy, make_rule
from recert.certification.verifier.attacked import why_not_withstood
from recert.certification.verifier.decision import why_not_pass
from recert.evaluation.decision.decide import overall
from recert.policy import AttackPolicy
from recert.records.reports.attack_report import AttackSearch
from recert.records.reports.evaluation import EvalReport, RuleResult, Verdict
from recert.records.signed.certificate import RuleException
from stories import certificate as make_certificate

POLICY = make_policy()
CONDITIONS = ("plain", "family:year_2025", "family:skeleton")

results = st.builds(
    make_rule,
    rule_id=st.sampled_from(["harm", "over-refusal"]),
    condition=st.sampled_from(CONDITIONS),
    verdict=st.sampled_from(list(Verdict)),
    safeguards=st.sampled_from([(), ("secret-prefix",)]),
)


@given(rules=st.lists(results, max_size=8), at=st.integers(0, 7), verdict=st.sampled_from(list(Verdict)))
@settings(max_examples=150, deadline=None)
def test_one_rule_that_does_not_pass_is_enough(rules: list[RuleResult], at: int, verdict: Verdict) -> None:
    """A verdict is `pass` only while every rule passes: spoiling one never makes a pass of it."""
    for safeguarded in (False, True):
        before = overall(rules, safeguarded=safeguarded, policy=POLICY)
        counted = [r for r in rules if bool(r.safeguards) == safeguarded]

        assert (before is Verdict.PASS) == (bool(counted) and all(r.verdict is Verdict.PASS for r in counted))
        if rules and verdict is not Verdict.PASS:
            spoilt = list(rules)
            spoilt[at % len(rules)] = rules[at % len(rules)].model_copy(update={"verdict": verdict})
            touched = bool(spoilt[at % len(rules)].safeguards) == safeguarded
            assert not touched or overall(spoilt, safeguarded=safeguarded, policy=POLICY) is not Verdict.PASS


@given(seed=st.integers(0, 10_000), lost=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_report_that_lost_rules_is_never_certified(seed: int, lost: int) -> None:
    """Without the result of any rule and condition that the policy names, the answer is no."""
    report = make_eval_report(policy=POLICY)
    kept = random.Random(seed).sample(list(report.rules), len(report.rules) - lost)

    assert _no(report.rules) == []
    assert _no(tuple(kept)) != []


@given(drop=st.sampled_from(sorted(EvalReport.model_fields)))
@settings(max_examples=60, deadline=None)
def test_a_report_without_a_field_says_no_more_than_before(drop: str) -> None:
    """Reading a report that lost a field fails, or gives a verdict that is no looser."""
    value = make_eval_report(policy=POLICY, verdict=Verdict.FAIL).to_value()
    value.pop(drop, None)

    assert _verdict(value) is not Verdict.PASS


@given(drop=st.sampled_from(("verdict_safeguarded", "required_controls", "secret_sha256", "reasons")))
@settings(max_examples=20, deadline=None)
def test_a_verdict_behind_a_control_does_not_outlive_the_control(drop: str) -> None:
    """A pass that holds behind a secret only is no pass of the model alone when what says so is lost."""
    report = make_eval_report(
        policy=POLICY,
        verdict=Verdict.FAIL,
        verdict_safeguarded=Verdict.PASS,
        required_controls=("secret-prefix",),
        secret_sha256="ab" * 32,
    )
    value = report.to_value()
    value.pop(drop)
    verdict = _verdict(value)

    assert report.verdict is Verdict.PASS
    if drop in ("verdict_safeguarded", "required_controls"):
        assert verdict is not Verdict.PASS


@given(
    n=st.integers(0, 500),
    verdicts=st.lists(st.sampled_from([v for v in Verdict if v is not Verdict.PASS]), min_size=1, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_a_certificate_is_a_yes_only_where_every_result_is(n: int, verdicts: list[Verdict]) -> None:
    """A certificate with one result that is not `pass` is refused, whatever its verdict line says."""
    report = make_eval_report(policy=POLICY)
    spoilt = [
        make_rule("harm", CONDITIONS[i], verdict, change=make_interval(0.0, n=n))
        for i, verdict in enumerate(verdicts)
    ]
    others = [
        r for r in report.rules if (r.rule_id, r.condition) not in {(s.rule_id, s.condition) for s in spoilt}
    ]
    certificate = make_certificate(report, results=(*spoilt, *others))

    assert _no(certificate.results) != []


@given(
    rules=st.lists(results, min_size=1, max_size=6),
    raw=st.sampled_from(list(Verdict)),
    named=st.lists(st.integers(0, 5), max_size=4),
    gone=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_an_exception_excuses_nothing_but_what_it_names(
    rules: list[RuleResult], raw: Verdict, named: list[int], gone: int
) -> None:
    """An exception fewer gives no reason less, and a yes means that each result passed or is named, as it was."""
    exceptions = [_except(rules[i % len(rules)]) for i in named]
    fewer = exceptions[:gone] + exceptions[gone + 1 :]
    asked: dict[str, Any] = {"safeguarded": None, "required_controls": (), "results": rules, "policy": None}
    with_all = set(why_not_pass(raw=raw, exceptions=exceptions, **asked))

    assert with_all <= set(why_not_pass(raw=raw, exceptions=fewer, **asked))
    if not with_all:
        alone = [r for r in rules if not r.safeguards]
        assert all(r.verdict is Verdict.PASS or any(e.is_about(r) for e in exceptions) for r in alone)


@given(
    drop=st.sampled_from(["tuned_sha256", "base_sha256", "agreement", "findings", "attackers"]),
    scale=st.floats(1.0, 10.0),
    bound=st.sampled_from(["max_coverage", "max_success", "max_change", "max_open"]),
)
@settings(max_examples=40, deadline=None)
def test_attackers_that_are_lost_or_bounded_more_give_no_reason_less(
    drop: str, scale: float, bound: str
) -> None:
    """Without a field of what attackers came to, or under a bound that is no laxer, there are no fewer reasons."""
    far = AttackSearch.of(make_report(tuned_reached=9))
    strict = AttackPolicy.model_validate(BOUNDS | {bound: BOUNDS.get(bound, 0.05) / scale})
    lost = far.model_copy(update={drop: () if drop in ("findings", "attackers") else None})
    lax = AttackPolicy.model_validate(BOUNDS)

    assert _far(far, strict, far) >= _far(far, lax, far)
    assert _far(lost, lax, far) >= 1
    assert _far(None, lax, far) == 1


def _far(search: AttackSearch | None, bounds: AttackPolicy, model: AttackSearch) -> int:
    reasons = why_not_withstood(
        search,
        bounds,
        required_controls=(),
        tuned_sha256=model.tuned_sha256,
        base_sha256=model.base_sha256,
    )
    return len(list(reasons))


def _except(result: RuleResult) -> RuleException:
    return RuleException(
        rule_id=result.rule_id,
        condition=result.condition,
        verdict=result.verdict,
        reason="until the new tune is there",
        expires_at=NOW,
        owner_key_id=SOME_SHA,
    )


def _no(rules: tuple[RuleResult, ...]) -> list[str]:
    return list(
        why_not_pass(raw=Verdict.PASS, safeguarded=None, required_controls=(), results=rules, policy=POLICY)
    )


def _verdict(value: dict[str, Any]) -> Verdict | None:
    from recert.digest import canonical_json
    from recert.errors import RecordError

    try:
        return EvalReport.from_json(canonical_json(value)).verdict
    except RecordError:
        return None

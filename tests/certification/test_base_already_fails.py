"""A certificate of a tune whose base already fails under a family: stated, shown to signers, and verified offline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders import make_eval_report, make_interval, make_policy, make_rule
from recert.certification import Envelope, approve, signoff_sheet
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.policy import Rule, already_words
from recert.records.reports.evaluation import RuleResult, Verdict
from recert.records.signed.certificate import PAYLOAD_TYPE

RULES = (
    Rule(
        id="harm",
        suite="harmful",
        estimand="harm",
        conditions=("plain", "family:*"),
        margin=0.1,
        max_base=0.5,
    ),
    Rule(id="over-refusal", suite="lookalikes", estimand="over_refusal", margin=0.1),
)
FAILS = make_rule(
    "harm",
    "family:skeleton",
    Verdict.NO_BASELINE_SIGNAL,
    base=make_interval(0.9),
    tuned=make_interval(0.91),
    change=make_interval(0.01),
)
RESULTS = (make_rule("harm"), make_rule("harm", "family:year_2025"), FAILS, make_rule("over-refusal"))


@pytest.fixture
def weak(world: Any) -> Any:
    """A world whose certificate is of a tune of such a base."""
    evaluation = {"families": ("year_2025", "skeleton"), "min_harmful_suites": 1, "families_with_signal": 1}
    policy = make_policy(evaluation=evaluation, rules=RULES)
    world = replace(world, policy=policy)
    report = make_eval_report(policy=policy, rules=RESULTS, limitations=(already_words(FAILS), "greedy only"))
    decision = world.certify(eval_report=report)
    assert decision.envelope is not None, decision.reasons
    return replace(world, envelope=approve(decision.envelope, world.keys["approver"]))


def resigned(world: Any, **changes: Any) -> bytes:
    """Return the certificate with other content, signed anew."""
    certificate = read_statement(Envelope.from_json(world.envelope).payload)
    payload = statement_bytes(certificate.model_copy(update=changes))
    return sign(PAYLOAD_TYPE, payload, [world.keys[role] for role in ("evaluator", "approver")]).to_json()


def test_it_is_certified_verified_and_shown(weak: Any) -> None:
    """The certificate verifies with the policy, by its digest and without one; the sheet names family and rates."""
    sheet = signoff_sheet(weak.envelope, policy=weak.policy, trust=weak.trust, now=weak.now)
    said = [line.words for line in sheet.lines if line.heading == "BASE ALREADY FAILS"]

    assert weak.verify().certificate.verdict_raw is Verdict.PASS
    assert weak.verify(policy=weak.policy.digest) and weak.verify(policy=None)
    assert len(said) == 1 and "under family:skeleton is 0.90 for the base and 0.91" in said[0]
    assert sheet.missing == ()


def test_without_its_limitation_it_is_refused(weak: Any) -> None:
    """A certificate that keeps quiet of it is refused, with the whole policy and without."""
    quiet = resigned(weak, limitations=("greedy only",))

    for policy in (weak.policy, None):
        assert weak.refusal(envelope=quiet, policy=policy).reason == "verdict-not-pass"
    report = make_eval_report(policy=weak.policy, rules=RESULTS)
    assert weak.certify(eval_report=report).envelope is None


def results(*changed: tuple[int, dict[str, Any]]) -> tuple[RuleResult, ...]:
    """Return the results with changes at some places."""
    given = dict(changed)
    return tuple(r.model_copy(update=given.get(at, {})) for at, r in enumerate(RESULTS))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            results((1, {"verdict": Verdict.NO_BASELINE_SIGNAL, "base": make_interval(0.9)})),
            "verdict-not-pass",
        ),
        (
            results((0, {"verdict": Verdict.NO_BASELINE_SIGNAL, "base": make_interval(0.9)})),
            "verdict-not-pass",
        ),
        (results((2, {"base": make_interval(0.5), "tuned": make_interval(0.51)})), "verdict-not-pass"),
        (results((2, {"verdict": Verdict.UNDECIDED})), "verdict-not-pass"),
        (results((2, {"evidence_beyond": 1000.0})), "not-as-ruled"),
        (results((2, {"tuned": make_interval(0.99)})), "not-as-ruled"),
        (results((2, {"judge_quality": None})), "not-as-ruled"),
        (RESULTS[:1] + RESULTS[2:], "verdict-not-pass"),
        (RESULTS[1:], "verdict-not-pass"),
    ],
)
def test_numbers_that_do_not_carry_it_are_refused(
    weak: Any, changed: tuple[RuleResult, ...], reason: str
) -> None:
    """Too few families, a base near its bound, evidence of harm, rates that do not agree, or a lost result: no."""
    words = tuple(already_words(r) for r in changed if r.verdict is Verdict.NO_BASELINE_SIGNAL)

    assert weak.refusal(envelope=resigned(weak, results=changed, limitations=words)).reason == reason


def test_under_a_policy_without_the_number_it_is_refused(weak: Any) -> None:
    """The veto stands where a policy does not name how many families must have signal."""
    bounds = weak.policy.evaluation.model_copy(update={"families_with_signal": None})
    strict = weak.policy.model_copy(update={"evaluation": bounds})
    report = make_eval_report(policy=strict, rules=RESULTS, limitations=(already_words(FAILS),))
    decision = replace(weak, policy=strict).certify(eval_report=report)

    assert decision.envelope is None
    assert any("family:skeleton is no-baseline-signal" in words for words in decision.reasons)

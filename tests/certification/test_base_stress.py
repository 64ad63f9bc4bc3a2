"""A certificate carries how its base stands up to tuning, and a policy may require it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import SOME_SHA, make_manifest, make_policy
from recert.certification import approve, read_unverified
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import statement_bytes
from recert.policy import Policy
from recert.records.reports.evaluation import Verdict
from recert.records.reports.stress import StressReport
from recert.records.signed.certificate import PAYLOAD_TYPE
from stress_reports import make_no_signal, make_step, make_stress_report

REQUIRED = make_policy(stress={"required": True})


def test_a_certificate_says_how_its_base_stands_up(world) -> None:
    """In short, with the report's digest; what is signed verifies."""
    report = make_stress_report()
    decision = world.certify(stress_report=report)
    said = read_unverified(decision.envelope).base_stress
    verified = world.verify(envelope=approve(decision.envelope, world.keys["approver"]))

    assert said is not None
    assert said.report_sha256 == report.digest
    assert said.worst == report.worst
    assert said.doubling["raw"].dose == 0.0067
    assert verified.certificate.base_stress == said


def test_without_a_report_nothing_is_said(world) -> None:
    """A policy that asks for none certifies without."""
    assert read_unverified(world.certify().envelope).base_stress is None


def test_a_report_of_another_base_breaks_the_chain(world) -> None:
    """Its figures are of other bytes."""
    other = make_stress_report(base=make_manifest({"model.safetensors": b"another"}))

    assert world.certify(stress_report=other).reasons == (
        "chain: the stress report is of another base than the model was compared with",
    )


def required(report: StressReport | None, policy: Policy = REQUIRED) -> StressReport | None:
    """Return a report as made under the policy that requires it."""
    return report.model_copy(update={"policy_sha256": policy.digest}) if report else None


CASES = [
    (None, "the policy requires a stress report of the base, and none was given"),
    (make_no_signal(), "the stress test of the base came to no-baseline-signal"),
    (make_stress_report(hair_trigger=make_step(Verdict.FAIL)), "the base under one harmless step is fail"),
    (
        make_stress_report(hair_trigger=make_step(Verdict.UNDECIDED)),
        "the base under one harmless step is undecided",
    ),
    (
        make_stress_report(hair_trigger=make_step(Verdict.UNSCORED)),
        "the base under one harmless step is unscored",
    ),
]


@pytest.mark.parametrize(("report", "said"), CASES)
def test_a_policy_that_requires_it_takes_nothing_less(world, report: StressReport | None, said: str) -> None:
    """Missing, without a signal, or not shown to stand one harmless step: not certified, and nothing is signed."""
    world = replace(world, policy=REQUIRED)
    decision = world.certify(stress_report=required(report))

    assert decision.envelope is None
    assert decision.reasons == (f"verdict-not-pass: {said}",)
    assert world.certify(stress_report=required(make_stress_report())).certified


def test_a_report_under_another_policy_is_not_enough(world) -> None:
    """Its numbers are not those that the policy stands for."""
    world = replace(world, policy=REQUIRED)

    assert world.certify(stress_report=make_stress_report(policy_sha256=SOME_SHA)).reasons == (
        "verdict-not-pass: the base was stressed under another policy",
    )


def test_verification_asks_for_it_too(world) -> None:
    """Signers who go round `certify`: their certificate is refused under the policy that requires a stress report."""
    world = replace(world, policy=REQUIRED)
    drafted = world.certify(stress_report=required(make_stress_report())).envelope
    certificate = read_unverified(drafted)
    steps = tuple(one for one in certificate.steps or () if one.step != "stress")
    without = certificate.model_copy(update={"base_stress": None, "steps": steps})
    keys = [world.keys["evaluator"], world.keys["approver"]]
    good, bare = (sign(PAYLOAD_TYPE, statement_bytes(one), keys).to_json() for one in (certificate, without))

    assert world.verify(envelope=good).certificate.base_stress is not None
    assert world.refusal(envelope=bare).reason == "verdict-not-pass"
    assert "none was given" in str(world.refusal(envelope=bare))

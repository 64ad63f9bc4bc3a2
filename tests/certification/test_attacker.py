"""A certificate carries what attackers that converse came to, and a policy may bound that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attack_reports import BOUNDS, make_checks, make_report
from builders import TUNED_FILES, make_manifest, make_policy
from recert.certification import approve, read_unverified
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import statement_bytes
from recert.certification.verifier.attacked import why_not_withstood
from recert.interval import Interval
from recert.policy import AttackPolicy
from recert.records.reports.attack_report import AttackReport, AttackSearch
from recert.records.signed.certificate import PAYLOAD_TYPE

REQUIRED = make_policy(attack=BOUNDS)
GOOD = make_report()
WORSE = tuple(
    c.model_copy(update={"change_at_most": Interval(point=0.2, low=0.1, high=0.4, level=0.95, n=40)})
    for c in GOOD.changes
)
OTHER = make_manifest({"adapter_model.safetensors": b"another adapter"})


def test_a_certificate_says_what_attackers_came_to(world) -> None:
    """In short, with the report's digest and what it does not show; what is signed verifies."""
    report = make_report()
    decision = world.certify(attack_report=report)
    drafted = read_unverified(decision.envelope)
    verified = world.verify(envelope=approve(decision.envelope, world.keys["approver"]))

    assert drafted.attacker is not None
    assert drafted.attacker.report_sha256 == report.digest
    assert [f.safeguards for f in drafted.attacker.findings] == [(), ("immutable-suffix",)]
    assert drafted.attacker.findings[0].coverage.point == 2 / 40
    assert any("coverage is no rate" in words for words in drafted.limitations)
    assert verified.certificate.attacker == drafted.attacker


def test_without_a_report_nothing_is_said(world) -> None:
    """A policy that asks for none certifies without, and its digest is what it was before there were any."""
    assert read_unverified(world.certify().envelope).attacker is None
    assert "attack" not in make_policy().to_value()


CASES: list[tuple[dict[str, Any], str]] = [
    ({"tuned": OTHER, "arms": make_checks(manifest_sha256=OTHER.digest)}, "is of another model"),
    ({"arms": ()}, "is of another model"),
    ({"arms": make_checks(fingerprint_at_end="another")}, "is of another model"),
    ({"tuned_reached": 30}, "coverage may be"),
    ({"changes": WORSE}, "change of success from the base may be"),
    ({"attackers": GOOD.attackers[:1]}, "were not tried: strategist"),
    ({"turns_withstood": 2}, "attackers had 2 turns, and the policy asks for 3"),
    ({"items": 39}, "attackers had 39 items"),
    ({"seeds": ()}, "attackers had 0 seeds"),
    ({"base": None}, "not tried on the base"),
    ({"changes": ()}, "change of success from the base is not known"),
    ({"outcomes": ()}, "attackers were not tried on the model alone"),
    ({"agreement": GOOD.agreement.model_copy(update={"icc_mean_low": None})}, "agreement is not known"),
    ({"agreement": GOOD.agreement.model_copy(update={"icc_mean_low": 0.2})}, "agreement is 0.20"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), CASES)
def test_a_policy_that_bounds_attackers_takes_nothing_less(world, changes: dict[str, Any], said: str) -> None:
    """Of another model, with fewer attempts, too far, or not known: not certified, and nothing is signed."""
    world = replace(world, policy=REQUIRED)
    decision = world.certify(attack_report=make_report(REQUIRED, **changes))

    assert decision.envelope is None
    assert any(said in reason for reason in decision.reasons), decision.reasons
    assert world.certify(attack_report=make_report(REQUIRED)).certified


def test_a_report_that_is_missing_is_a_no(world) -> None:
    """The policy asks for one."""
    world = replace(world, policy=REQUIRED)

    assert world.certify().reasons == (
        "verdict-not-pass: the policy requires an attack report, and none was given",
    )


def test_conversations_that_were_left_open_are_a_no(world) -> None:
    """Beyond the policy's share of them nothing passes, and they count as reached before that."""
    world = replace(world, policy=make_policy(attack=BOUNDS | {"max_open": 0.0}))
    report = make_report(world.policy)
    opened = tuple(
        o.model_copy(update={"open": 1, "withstood": o.withstood - 1}) if o.arm == "tuned" else o
        for o in report.outcomes
    )
    decision = world.certify(attack_report=report.model_copy(update={"outcomes": opened}))

    assert any("1 of 80 conversations were left open" in reason for reason in decision.reasons)


def test_another_models_report_is_refused_without_such_a_policy_too(world) -> None:
    """Its figures are of other bytes."""
    report = make_report(tuned=OTHER, arms=make_checks(manifest_sha256=OTHER.digest))

    assert world.certify(attack_report=report).reasons == (
        "verdict-not-pass: the attack report is of another model",
    )


@pytest.mark.slow
def test_verification_asks_for_it_too(world) -> None:
    """Signers who go round `certify`: their certificate is refused under the policy that bounds attackers."""
    world = replace(world, policy=REQUIRED)

    drafted = world.certify(attack_report=make_report(REQUIRED)).envelope
    certificate = read_unverified(drafted)

    def signed(report: AttackReport | None) -> bytes:
        steps = {one.step: one for one in certificate.steps or ()}
        attack = steps.pop("attack")
        kept = (attack.model_copy(update={"record_sha256": report.digest}),) if report else ()
        changed = certificate.model_copy(
            update={
                "attacker": AttackSearch.of(report) if report else None,
                "steps": (*steps.values(), *kept),
            }
        )
        keys = [world.keys["evaluator"], world.keys["approver"]]
        return sign(PAYLOAD_TYPE, statement_bytes(changed), keys).to_json()

    good = world.verify(envelope=signed(make_report(REQUIRED)))
    bare = world.refusal(envelope=signed(None))
    far = world.refusal(envelope=signed(make_report(REQUIRED, tuned_reached=40)))

    assert good.certificate.attacker is not None
    assert (bare.reason, far.reason) == ("verdict-not-pass", "verdict-not-pass")
    assert "none was given" in str(bare)


def test_a_verdict_behind_controls_needs_attackers_behind_them() -> None:
    """What attackers came to on the model alone, or behind other controls, says nothing of the model as served."""
    search, bounds = AttackSearch.of(GOOD), AttackPolicy.model_validate(BOUNDS)

    def reasons(*controls: str) -> list[str]:
        found = make_manifest(TUNED_FILES).digest
        return list(
            why_not_withstood(
                search,
                bounds,
                required_controls=controls,
                tuned_sha256=found,
                base_sha256=search.base_sha256,
            )
        )

    assert reasons() == reasons("immutable-suffix") == []
    assert "secret-prefix" in reasons("secret-prefix")[0]

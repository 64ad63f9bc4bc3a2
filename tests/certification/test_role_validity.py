"""A signature counts for as long as the policy says of its role: no certificate outlives its shortest one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, make_policy, make_watch_report
from recert.certification import Envelope, approve, read_unverified, renew, signoff_sheet
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import sign_link_of
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.signed.certificate import PAYLOAD_TYPE


def bounded(**hours: float | None) -> Policy:
    """Return a policy whose roles count for so many hours."""
    roles = [{"role": role, "valid_hours": hours.get(role)} for role in ("evaluator", "approver")]
    return make_policy(certification={"validity_hours": 168, "roles": roles})


def test_a_certificate_ends_with_its_shortest_role(world):
    """
    The approver counts for a day, the evaluator for two: it holds for a day, and verifies.
    """
    world = replace(world, policy=bounded(approver=24, evaluator=48))
    envelope = approve(world.certify().envelope, world.keys["approver"])

    assert world.verify(envelope=envelope).certificate.expires_at == NOW + timedelta(hours=24)


def test_signers_cannot_sign_for_longer_than_a_role_counts(world):
    """
    With the whole policy a longer life is refused, whoever signed it.
    """
    world = replace(world, policy=bounded(approver=24))
    said = read_statement(Envelope.from_json(world.certify().envelope).payload)
    longer = said.model_copy(update={"expires_at": NOW + timedelta(hours=25)})
    keys = [world.keys["evaluator"], world.keys["approver"]]

    assert (
        world.refusal(envelope=sign(PAYLOAD_TYPE, statement_bytes(longer), keys).to_json()).reason
        == "wrong-policy"
    )


def test_a_renewal_begins_a_new_term(world):
    """
    Everybody signs a renewal anew, so it counts again for the shortest role's hours, from the watch.
    """
    world = replace(world, policy=bounded(approver=24))
    envelope = approve(world.certify().envelope, world.keys["approver"])
    at = NOW + timedelta(hours=12)
    watch = make_watch_report(
        serial=read_unverified(envelope).serial,
        certificate_sha256=sha256_bytes(envelope),
        started_at=at,
        watched_at=at,
    )
    renewed = renew(
        envelope,
        watch,
        link=sign_link_of(watch, world.keys["watcher"]),
        signers=[world.keys["evaluator"], world.keys["approver"]],
        policy=world.policy,
        trust=world.trust,
        status=world.status,
        now=at,
    )

    assert read_unverified(renewed).expires_at == at + timedelta(hours=24)


def test_the_sheet_says_for_how_long_a_role_counts(world):
    """
    Who signs sees for how long they do.
    """
    world = replace(world, policy=bounded(approver=24))
    sheet = signoff_sheet(world.certify().envelope, policy=world.policy, now=NOW)

    assert "signers: 1 evaluator, 1 approver for 24 hours" in [item.asked for item in sheet.checklist]


def test_a_policy_without_such_hours_has_the_digest_it_had():
    """
    Certificates under an earlier policy stay under that policy.
    """
    value = make_policy().to_value()["certification"]

    assert [sorted(role) for role in value["roles"]] == [["role", "threshold"]] * 2
    assert "exceptions" not in value


@pytest.mark.parametrize("hours", [0, -1, 9000])
def test_hours_out_of_range_are_refused(hours):
    """
    A role that counts for no time, or for years, is no policy.
    """
    with pytest.raises(ValueError, match="valid_hours"):
        bounded(approver=hours)


@pytest.mark.slow
@given(
    evaluator=st.none() | st.integers(1, 400),
    approver=st.none() | st.integers(1, 400),
    life=st.integers(1, 400),
)
@settings(max_examples=40, deadline=None)
def test_no_certificate_outlives_any_role(shared_world, evaluator, approver, life):
    """
    Whatever hours roles have, a certificate verifies exactly where it lives no longer than each of them allows.
    """
    world = replace(shared_world, policy=bounded(evaluator=evaluator, approver=approver))
    said = read_statement(Envelope.from_json(world.certify().envelope).payload)
    asked = said.model_copy(update={"expires_at": NOW + timedelta(hours=life)})
    keys = [world.keys["evaluator"], world.keys["approver"]]
    try:
        world.verify(envelope=sign(PAYLOAD_TYPE, statement_bytes(asked), keys).to_json())
        verified = True
    except VerificationError:
        verified = False

    assert verified == all(life <= (hours or 168) for hours in (evaluator, approver, 168))

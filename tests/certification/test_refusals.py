"""Who refuses is heard: a refusal stands against every certificate for the same files until it is taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, SOME_SHA, make_eval_report
from recert.certification import (
    Envelope,
    Presented,
    TrustStore,
    Verifier,
    approve,
    generate_key,
    issue_status,
    keep_refusal,
    objections,
    read_refusals,
    read_unverified,
    refuse,
    suspensions,
    withdraw,
)
from recert.certification.signing.envelope import sign
from recert.certification.signing.refusals import require_unrefused
from recert.digest import canonical_json
from recert.errors import InputError, RecordError, SigningKeyError, StoreError, VerificationError
from recert.records.signed.refusal import REFUSAL_PAYLOAD_TYPE, Refusal

WHY = "the trigger search stopped too early"


def refused(world: Any, role: str = "approver", **changes: Any) -> bytes:
    """Return a refusal of the world's certificate."""
    return refuse(changes.pop("envelope", world.envelope), world.keys[role], WHY, now=NOW)


def test_a_refusal_is_a_no_until_it_is_taken_back(world):
    """
    An approver who signed and then refuses stops the certificate, with their words; their withdrawal frees it.
    """
    refusal = refused(world)
    no = world.refusal(refusals=[refusal])
    back = withdraw(refusal, world.keys["approver"], "it was run again", now=NOW)

    assert no.reason == "refused"
    assert WHY in str(no)
    assert world.verify(refusals=[refusal, back]) == world.verify()
    assert world.verify(refusals=[back, refusal]) == world.verify()


def test_a_refusal_stops_a_certificate_while_it_is_served(world):
    """
    What a server asks every few seconds says no as soon as a refusal lies there.
    """
    held = world.verify()
    verifier = Verifier(trust=world.trust, status=world.status)

    assert verifier.recheck(Presented(world.envelope), held, now=NOW).status_version == 1
    with pytest.raises(VerificationError) as caught:
        verifier.recheck(Presented(world.envelope, [refused(world)]), held, now=NOW)
    assert caught.value.reason == "refused"


def test_a_new_draft_does_not_shed_a_refusal(world, tmp_path):
    """
    Naming another approver, or evaluating the same files again, changes nothing; other files are another model.
    """
    refusal = refused(world)
    other = generate_key(tmp_path / "carol.pem", "approver", "Carol")
    trust = TrustStore([other.public, *(k.public for k in world.keys.values())])
    draft = world.certify(approvers=[other.public]).envelope
    anew = world.certify(eval_report=make_eval_report(policy=world.policy, seconds=99.0)).envelope

    said = world.refusal(envelope=approve(draft, other), trust=trust, refusals=[refusal])
    assert said.reason == "refused"
    said = world.refusal(envelope=approve(anew, world.keys["approver"]), refusals=[refusal])
    assert said.reason == "refused"
    said = Refusal.from_json(Envelope.from_json(refusal).payload)
    other_files = said.model_copy(update={"tuned_sha256": SOME_SHA, "eval_report_sha256": SOME_SHA})
    signed = sign(REFUSAL_PAYLOAD_TYPE, other_files.to_json(), [world.keys["approver"]])
    assert world.verify(refusals=[signed.to_json()])


@pytest.mark.parametrize("role", ["trainer", "status"])
def test_who_need_not_sign_cannot_refuse_for_others(world, role):
    """
    The words of who is in no signing role are kept and shown, and stop nothing; so are those of strangers.
    """
    refusal = refused(world, role)

    assert world.verify(refusals=[refusal])
    assert [o.refusal.reason for o in objections(world.verify().certificate, [refusal])] == [WHY]


def test_a_stranger_s_refusal_stops_nothing(world, tmp_path):
    """
    Keys outside the trust store say nothing.
    """
    stranger = generate_key(tmp_path / "x.pem", "approver", "Mallory")

    assert world.verify(refusals=[refuse(world.envelope, stranger, "no", now=NOW)])


def test_an_expired_key_still_refuses_and_no_longer_withdraws(world):
    """
    Time that passes makes nothing looser: a no outlives its key, and its withdrawal does not.
    """
    refusal = refused(world)
    back = withdraw(refusal, world.keys["approver"], "fine now", now=NOW)
    certificate = world.verify().certificate
    expired = world.keys["approver"].public.model_copy(update={"expires_at": NOW})
    trust = TrustStore([expired, *(world.keys[r].public for r in ("evaluator", "status"))])

    for known in ([refusal], [refusal, back]):
        with pytest.raises(VerificationError) as caught:
            require_unrefused(certificate, known, trust=trust, now=NOW)
        assert caught.value.reason == "refused"


def test_only_who_refused_takes_it_back(world):
    """
    Another key cannot withdraw, not even with a record of its own making.
    """
    refusal = refused(world)
    with pytest.raises(SigningKeyError, match="only who refused"):
        withdraw(refusal, world.keys["evaluator"], "never mind", now=NOW)
    back = Envelope.from_json(withdraw(refusal, world.keys["approver"], "x", now=NOW))
    forged = sign(back.payload_type, back.payload, [world.keys["evaluator"]]).to_json()

    assert world.refusal(refusals=[refusal, forged]).reason == "refusal-unreadable"


def test_a_refusal_needs_a_reason_and_a_certificate(world):
    """
    A no without words, or to something else, is not recorded.
    """
    with pytest.raises(InputError, match="reason"):
        refuse(world.envelope, world.keys["approver"], "  ")
    with pytest.raises(RecordError, match="not a certificate"):
        refuse(world.status, world.keys["approver"], WHY)
    with pytest.raises(RecordError, match="not a refusal"):
        withdraw(world.envelope, world.keys["approver"], WHY)


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b"\xff"])
def test_what_may_have_been_a_refusal_is_a_no(world, damage):
    """
    A file among the refusals that cannot be read could be somebody's no.
    """
    assert world.refusal(refusals=[damage]).reason == "refusal-unreadable"


def test_a_refusal_of_another_form_is_a_no(world):
    """
    A field left out, of a later version, or another payload type: unreadable, even when it is signed.
    """
    value = json.loads(Envelope.from_json(refused(world)).payload)
    for changed in (value | {"schema_version": 2}, {k: v for k, v in value.items() if k != "reason"}):
        signed = sign(REFUSAL_PAYLOAD_TYPE, canonical_json(changed), [world.keys["approver"]])
        assert world.refusal(refusals=[signed.to_json()]).reason == "refusal-unreadable"
    assert world.refusal(refusals=[world.status]).reason == "refusal-unreadable"


def test_refusals_lie_in_a_folder(tmp_path, world):
    """
    They are kept under their digest, and read back; a folder that was asked for and is not there is an error.
    """
    refusal = refused(world)
    path = keep_refusal(tmp_path / "refusals", refusal)
    (tmp_path / "refusals" / "notes.txt").write_text("not one of them")

    assert read_refusals(tmp_path / "refusals") == (refusal,)
    assert keep_refusal(tmp_path / "refusals", refusal) == path
    assert read_refusals(tmp_path / "none") == ()
    with pytest.raises(StoreError, match="no such folder"):
        read_refusals(tmp_path / "none", required=True)


def test_whoever_issues_the_status_list_takes_refusals_up_in_it(world, tmp_path):
    """
    What stands refused is suspended, so that a deleted file changes nothing; taken back or by a stranger, it is not.
    """
    serial = world.verify().certificate.serial
    stranger = refuse(world.envelope, generate_key(tmp_path / "x.pem", "approver", "Mallory"), WHY, now=NOW)
    refusal = refused(world)
    back = withdraw(refusal, world.keys["approver"], "it was run again", now=NOW)
    known = {"trust": world.trust, "now": NOW}
    entries = suspensions([refusal, stranger, refused(world, "trainer")], **known)
    status = issue_status(
        world.status, key=world.keys["status"], validity_hours=24, entries=entries, trust=world.trust, now=NOW
    )

    assert [(e.serial, e.status) for e in entries] == [(serial, "suspended")]
    assert entries[0].reason == f"refused by the approver Approver: {WHY}"
    assert world.refusal(status=status).reason == "suspended"
    assert suspensions([refusal, back, stranger], **known) == ()
    with pytest.raises(VerificationError) as caught:
        suspensions([refusal[:-9]], **known)
    assert caught.value.reason == "refusal-unreadable"


@pytest.mark.slow
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_one_flipped_bit_never_silences_a_refusal(shared_world, place, bit):
    """
    However a refusal is damaged, the answer stays no.
    """
    damaged = bytearray(refused(shared_world))
    damaged[int(place * len(damaged))] ^= 1 << bit

    assert shared_world.refusal(refusals=[bytes(damaged)]).reason in ("refused", "refusal-unreadable")


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_refusal_or_signature_taken_away_makes_a_yes_without_who_refused(shared_world, data):
    """
    Among refusals, withdrawals and signatures, taking one away gives a new yes only where who refused had signed.

    A refusal makes no answer looser, a lost withdrawal makes it stricter, and without the signature of a signer who
    is named the answer is no whether their refusal is there or lost.
    """
    world = shared_world
    refusal = refused(world)
    pool = (
        refusal,
        withdraw(refusal, world.keys["approver"], "taken back", now=NOW),
        refused(world, "evaluator"),
        refused(world, "trainer"),
    )
    said = tuple(data.draw(st.lists(st.sampled_from(pool), max_size=5)))
    signatures = Envelope.from_json(world.envelope).signatures
    kept = tuple(data.draw(st.lists(st.sampled_from(signatures), min_size=1, max_size=2, unique=True)))
    envelope = replace(Envelope.from_json(world.envelope), signatures=kept).to_json()

    def yes(refusals: tuple[bytes, ...]) -> bool:
        try:
            world.verify(envelope=envelope, refusals=refusals)
        except VerificationError:
            return False
        return True

    assert yes(()) or not yes(said)
    for gone in range(len(said)):
        rest = said[:gone] + said[gone + 1 :]
        if said[gone] == pool[1]:
            assert yes(said) or not yes(rest) or said.count(pool[1]) > 1
        elif len(kept) < 2:
            assert not yes(rest)


def test_a_refusal_says_what_was_refused(world):
    """
    It names the certificate, the evidence, the model, the role and the key.
    """
    said = objections(read_unverified(world.envelope), [refused(world)])[0].refusal
    certificate = world.verify().certificate

    assert said.serial == certificate.serial
    assert said.eval_report_sha256 == certificate.eval_report_sha256 != SOME_SHA
    assert said.tuned_sha256 == certificate.tuned.digest
    assert (said.approval.role, said.approval.name) == ("approver", "Approver")
    assert said.refused_at == NOW

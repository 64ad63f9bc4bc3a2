"""The end of a certificate's life, and its lengthening."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, SOME_SHA, make_interval, make_policy, make_watch_report
from recert.certification import (
    Envelope,
    TrustStore,
    generate_key,
    issue_status,
    read_status,
    read_unverified,
    reinstate,
    renew,
    revoke,
    suspend,
)
from recert.certification.signing.envelope import sign
from recert.certification.signing.links import sign_link_of
from recert.digest import canonical_json
from recert.errors import InputError, SigningKeyError, VerificationError
from recert.interval import exact_interval
from recert.monitoring.over_time import weigh
from recert.records.live.watching import AskedSample, CanaryResult, WatchOutcome
from recert.records.signed.certificate import PAYLOAD_TYPE, STATUS_PAYLOAD_TYPE, StatusEntry

LATER = NOW + timedelta(hours=12)
A, B = "a" * 32, "b" * 32


def issuing(world: Any, **changes: Any) -> dict[str, Any]:
    """Return what every new status list is issued with."""
    return {"key": world.keys["status"], "trust": world.trust, "validity_hours": 24, "now": NOW} | changes


def renewed(world: Any, *, watch: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """Renew the world's certificate after twelve hours, with changes."""
    old = read_unverified(changes.get("envelope", world.envelope))
    report = {
        "serial": old.serial,
        "certificate_sha256": old.digest,
        "started_at": LATER,
        "watched_at": LATER,
    }
    seen = make_watch_report(**(report | (watch or {})))
    asked: dict[str, Any] = {
        "link": sign_link_of(seen, world.keys["watcher"], now=LATER),
        "envelope": world.envelope,
        "signers": [world.keys["evaluator"], world.keys["approver"]],
        "policy": world.policy,
        "trust": world.trust,
        "status": world.status,
        "now": LATER,
    } | changes
    return renew(asked.pop("envelope"), seen, **asked)


def test_each_list_is_one_version_up_and_keeps_what_was_said(world):
    """
    Issuing again keeps every entry, and a suspension does not replace a revocation.
    """
    first = revoke(world.status, A, "x", **issuing(world))
    second = suspend(first, A, "y", **issuing(world))
    third = issue_status(suspend(second, B, "z", **issuing(world)), **issuing(world, validity_hours=48))
    status = read_status(third, trust=world.trust, now=NOW)

    assert status.version == 5
    assert {e.serial: e.status for e in status.entries} == {A: "revoked", B: "suspended"}
    assert status.expires_at == NOW + timedelta(hours=48)


def test_a_list_is_built_on_a_trusted_one_only(world, tmp_path):
    """
    A forged or damaged list is not continued, and only a key with the role status issues one.
    """
    stranger = generate_key(tmp_path / "x.pem", "status", "Mallory")
    forged = issue_status(None, **issuing(world, key=stranger))

    with pytest.raises(VerificationError) as caught:
        revoke(forged, A, "x", **issuing(world))
    assert caught.value.reason == "status-untrusted"
    with pytest.raises(SigningKeyError):
        revoke(world.status, A, "x", **issuing(world, key=world.keys["evaluator"]))
    with pytest.raises(InputError, match="not suspended"):
        reinstate(world.status, A, **issuing(world))


def test_an_evaluator_cannot_lift_a_suspension(world):
    """
    A status list signed in another role is no status list.
    """
    payload = Envelope.from_json(world.status).payload
    forged = sign(STATUS_PAYLOAD_TYPE, payload, [world.keys["evaluator"], world.keys["approver"]]).to_json()

    with pytest.raises(VerificationError) as caught:
        world.verify(status=forged)
    assert caught.value.reason == "status-untrusted"


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_taking_anything_out_of_a_status_list_never_helps(shared_world, data):
    """
    A list that stops a certificate stops it whatever is removed, unless its issuer signs anew.
    """
    world = shared_world
    entry = StatusEntry(
        serial=read_unverified(world.envelope).serial, status="revoked", reason="x", since=NOW
    )
    status = Envelope.from_json(issue_status(world.status, **issuing(world), entries=[entry]))
    value = json.loads(status.payload)
    where = data.draw(st.sampled_from([value, value["entries"], value["entries"][0]]))
    key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else [0]))
    del where[key]
    cut = Envelope(status.payload_type, canonical_json(value), status.signatures)

    with pytest.raises(VerificationError):
        world.verify(status=cut.to_json())
    if key != "entries" and where is not value["entries"]:
        anew = cut.signed_by(world.keys["status"])
        with pytest.raises(VerificationError):
            world.verify(status=anew.to_json())


def test_a_clean_watch_renews(world):
    """
    The new certificate has the old evidence and a new serial, and its life is counted from the watch.
    """
    old = read_unverified(world.envelope)
    envelope = renewed(world)
    new = world.verify(envelope=envelope, now=LATER).certificate

    assert new.serial != old.serial
    assert (new.supersedes, new.lineage) == (old.serial, (old.serial,))
    assert new.expires_at == LATER + timedelta(hours=168)
    assert new.results == old.results
    assert new.eval_report_sha256 == old.eval_report_sha256


def test_revoking_the_first_stops_every_renewal(world):
    """
    Evidence that was withdrawn does not live on under a new serial.
    """
    first = read_unverified(world.envelope).serial
    envelope = renewed(world)
    status = revoke(world.status, first, "trigger found", **issuing(world))

    with pytest.raises(VerificationError) as caught:
        world.verify(envelope=envelope, status=status, now=LATER)
    assert caught.value.reason == "revoked"


@pytest.mark.parametrize(
    "watch",
    [
        {"outcome": WatchOutcome.WARN},
        {"outcome": WatchOutcome.SUSPEND},
        {"canaries": ()},
        {"fingerprint_matches": False},
        {"fingerprint_matches": None},
        {"serial": "another"},
        {"certificate_sha256": "0" * 64},
        {"watched_at": LATER + timedelta(hours=1)},
        {"started_at": NOW - timedelta(hours=1)},
        {"watched_at": NOW},
    ],
)
def test_a_watch_that_is_not_clean_renews_nothing(world, watch):
    """
    Anything but a clean, recent watch of exactly this certificate is a no.
    """
    with pytest.raises(VerificationError) as caught:
        renewed(world, watch=watch)

    assert caught.value.reason == "not-clean"


def test_one_watch_renews_once(world):
    """
    The same watch does not lengthen the renewed certificate again.
    """
    envelope = renewed(world)

    with pytest.raises(VerificationError) as caught:
        renewed(world, envelope=envelope)
    assert caught.value.reason == "not-clean"


def test_what_has_ended_is_not_renewed(world):
    """
    An expired, revoked or unverifiable certificate, or one under another policy, is not renewed.
    """
    serial = read_unverified(world.envelope).serial
    revoked = revoke(world.status, serial, "x", **issuing(world))
    end = NOW + timedelta(hours=168)
    for reason, changes in (
        ("revoked", {"status": revoked}),
        ("status-missing", {"status": None}),
        ("expired", {"now": end}),
        ("wrong-policy", {"policy": make_policy(version="2")}),
        ("untrusted-key", {"trust": TrustStore([world.keys["status"].public])}),
    ):
        with pytest.raises(VerificationError) as caught:
            renewed(world, **changes)
        assert caught.value.reason == reason


def test_renewal_needs_the_same_roles(world):
    """
    As many people of each role sign again, and nobody twice.
    """
    evaluator, approver = world.keys["evaluator"], world.keys["approver"]
    for signers in ([evaluator], [evaluator, evaluator], [evaluator, approver, approver], []):
        with pytest.raises(SigningKeyError):
            renewed(world, signers=signers)


def canaries(*, bad: int = 1, n: int = 48, **changes: Any) -> tuple[CanaryResult, ...]:
    """Return both canaries of the built certificate with these counts, called clean whatever they are."""
    seen = exact_interval(bad, n, level=0.99)
    whole = make_watch_report(serial="s", certificate_sha256=SOME_SHA).canaries
    return tuple(one.model_copy(update={"seen": seen} | changes) for one in whole)


@pytest.mark.parametrize(
    ("words", "watch"),
    [
        ("is more than 0.18 allows", {"canaries": canaries(bad=48)}),
        ("is above 0.18", {"canaries": canaries(bad=9)}),
        ("nothing could be measured", {"canaries": canaries(bad=0, n=0)}),
        ("did not ask lookalikes/over_refusal", {"canaries": canaries()[:1]}),
        ("another rate than the certified", {"canaries": canaries(certified=make_interval(0.9))}),
        ("another rate than the certified", {"canaries": (*canaries(), *canaries(estimand="ordinary/harm"))}),
        ("another margin", {"canaries": canaries(margin=0.9)}),
        ("no share of 48", {"canaries": canaries(seen=make_interval(0.001))}),
        ("1 probes were not answered", {"failed_probes": 1}),
        ("2 prompts of one run alone decide nothing", {"canaries": canaries(bad=0, n=2)}),
    ],
)
def test_what_a_watch_says_of_itself_is_not_believed(world, words, watch):
    """
    A report that says `renew`, signed by a watcher, renews nothing where its own numbers say otherwise.
    """
    with pytest.raises(VerificationError) as caught:
        renewed(world, watch=watch)

    assert caught.value.reason == "not-clean"
    assert words in caught.value.facts["because"]


def over_time(world: Any, **changes: Any) -> tuple[CanaryResult, ...]:
    """Return both canaries as a history of clean runs leaves them, with changes."""
    sample = AskedSample(
        through="raw", estimand="harmful/harm", prompts=tuple(f"{n:016x}" for n in range(96)), bad=1
    )
    certified = make_interval(0.03)
    found = weigh([(LATER, sample)], certified, world.policy, rates=2, at=LATER)
    seen = exact_interval(1, 96, level=0.99)
    return canaries(seen=seen, over_time=found.model_copy(update=changes))


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("it is above", {"rise": 1e9}),
        ("it seems to have risen", {"recent_rise": 1e9}),
        ("not yet enough asked", {"within": 1.0}),
        ("other bounds", {"bound": 0.99}),
        ("other bounds", {"suspend_at": 1e12, "rise": 1e9}),
        ("other bounds", {"renew_at": 0.5, "within": 1.0}),
        ("other bounds", {"ceiling": 1.0}),
        ("other bounds", {"warn_at": 1e12}),
        ("not among those of all runs", {"bad": 0}),
        ("not among those of all runs", {"runs": 0}),
        ("not among those of all runs", {"prompts": 40}),
        ("cannot show", {"bad": 90, "prompts": 186, "within": 1e300}),
    ],
)
def test_evidence_over_time_is_held_against_the_policy(world, words, changes):
    """
    With a history the report's evidence decides by the policy's bounds alone, and must fit its counts.
    """
    assert renewed(world, watch={"canaries": over_time(world)})
    with pytest.raises(VerificationError) as caught:
        renewed(world, watch={"canaries": over_time(world, **changes)})

    assert caught.value.reason == "not-clean"
    assert words in caught.value.facts["because"]


def test_a_renewal_needs_a_watcher_s_signature(world):
    """
    The watch of nobody, of another role, or of another report renews nothing, however clean.
    """
    old = read_unverified(world.envelope)
    fields = {"serial": old.serial, "certificate_sha256": old.digest, "started_at": LATER}
    clean = make_watch_report(**fields, watched_at=LATER)
    other = make_watch_report(**fields, watched_at=LATER + timedelta(minutes=1))
    link = sign_link_of(clean, world.keys["watcher"])
    by_trainer = sign(PAYLOAD_TYPE, Envelope.from_json(link).payload, [world.keys["trainer"]]).to_json()
    for reason, signed in (
        ("link-malformed", b""),
        ("link-untrusted", by_trainer),
        ("link-malformed", world.envelope),
        ("not-clean", sign_link_of(other, world.keys["watcher"])),
    ):
        with pytest.raises(VerificationError) as caught:
            renewed(world, link=signed)
        assert caught.value.reason == reason


def test_the_trainer_does_not_watch_under_another_key(world, tmp_path):
    """
    A watcher's key of the trainer's person is the trainer's.
    """
    old = read_unverified(world.envelope)
    key = generate_key(tmp_path / "own.pem", "watcher", "Trainer")
    trust = TrustStore([key.public, *(one.public for one in world.keys.values())])
    clean = make_watch_report(
        serial=old.serial, certificate_sha256=old.digest, started_at=LATER, watched_at=LATER
    )

    with pytest.raises(VerificationError) as caught:
        renewed(world, link=sign_link_of(clean, key), trust=trust)
    assert caught.value.facts["because"] == "the watcher is the trainer"

"""The answers of verification, each with its reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import NOW, make_eval_report, make_policy, make_search
from recert.certification import (
    Envelope,
    Presented,
    TrustStore,
    Verifier,
    approve,
    generate_key,
    issue_status,
    read_unverified,
    reinstate,
    revoke,
    suspend,
)
from recert.certification.signing.envelope import sign
from recert.certification.signing.statement import read_statement, statement_bytes
from recert.digest import canonical_json, sha256_bytes
from recert.errors import InputError, VerificationError
from recert.records.reports.evaluation import Verdict
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate, VerifiedCertificate


def resigned(world: Any, *, by: tuple[str, ...] = ("evaluator", "approver"), **changes: Any) -> bytes:
    """Return the certificate with other content, signed anew by the right people, as if they colluded."""
    certificate = read_statement(Envelope.from_json(world.envelope).payload)
    payload = statement_bytes(certificate.model_copy(update=changes))
    return sign(PAYLOAD_TYPE, payload, [world.keys[role] for role in by]).to_json()


def test_a_good_certificate_verifies(world):
    """
    Right files, signatures, policy, time and status give the certificate, its signers and the status version.
    """
    verified = world.verify()

    assert [a.role for a in verified.signers] == ["evaluator", "approver"]
    assert verified.certificate.tuned.files[0].name == "adapter_config.json"
    assert verified.envelope_sha256 == sha256_bytes(world.envelope)
    assert verified.status_version == 1
    assert verified.verified_at == NOW


def test_a_digest_or_no_policy_will_do(world):
    """
    The expected policy may be given as its digest, or left to the signers.
    """
    assert world.verify(policy=world.policy.digest) == world.verify()
    assert world.verify(policy=None) == world.verify()


def test_an_expired_certificate_is_refused(world):
    """
    From `expires_at` on the answer is no, and before it yes.
    """
    end = NOW + timedelta(hours=world.policy.certification.validity_hours)
    status = issue_status(
        world.status,
        key=world.keys["status"],
        trust=world.trust,
        validity_hours=24,
        now=end - timedelta(hours=1),
    )

    assert world.verify(now=end - timedelta(seconds=1), status=status)
    assert world.refusal(now=end, status=status).reason == "expired"


def test_a_certificate_from_the_future_is_refused(world):
    """
    Before `not_before` the answer is no.
    """
    assert world.refusal(now=NOW - timedelta(seconds=1)).reason == "not-yet-valid"


def test_a_time_without_an_offset_is_no_time(world):
    """
    Nobody can say when a time without an offset is: that is no answer, not a yes.
    """
    with pytest.raises(InputError):
        world.verify(now=NOW.replace(tzinfo=None))


def test_another_key_is_refused(world, tmp_path):
    """
    A certificate signed by strangers is refused, however well.
    """
    strangers = TrustStore([generate_key(tmp_path / "x.pem", "evaluator", "Mallory").public])

    assert world.refusal(trust=strangers).reason == "untrusted-key"


def test_a_changed_payload_is_refused(world):
    """
    Content that was not signed is refused.
    """
    envelope = Envelope.from_json(world.envelope)
    changed = replace(envelope, payload=envelope.payload.replace(b'"test-model"', b'"best-model"'))

    assert world.refusal(envelope=changed.to_json()).reason == "bad-signature"


def test_another_policy_is_refused(world):
    """
    A certificate under another policy is refused, whether that is given whole or as a digest.
    """
    other = make_policy(version="2")

    assert world.refusal(policy=other).reason == "wrong-policy"
    assert world.refusal(policy=other.digest).reason == "wrong-policy"


def test_a_longer_life_than_the_policy_allows_is_refused(world):
    """
    Signers cannot sign for longer than their policy.
    """
    envelope = resigned(world, expires_at=NOW + timedelta(days=300))

    assert world.refusal(envelope=envelope).reason == "wrong-policy"


def test_a_revoked_certificate_is_refused_for_good(world):
    """
    A revoked certificate is refused with the reason given, and cannot be suspended or reinstated into life.
    """
    serial = world.verify().certificate.serial
    issue = {"key": world.keys["status"], "trust": world.trust, "validity_hours": 24, "now": NOW}
    status = revoke(world.status, serial, "trigger found", **issue)

    assert world.refusal(status=status).reason == "revoked"
    assert "trigger found" in str(world.refusal(status=status))
    assert world.refusal(status=suspend(status, serial, "again", **issue)).reason == "revoked"
    with pytest.raises(InputError, match="for good"):
        reinstate(status, serial, **issue)


def test_a_suspension_can_be_lifted(world):
    """
    A suspended certificate is refused until it is reinstated; another certificate is untouched.
    """
    serial = world.verify().certificate.serial
    issue = {"key": world.keys["status"], "trust": world.trust, "validity_hours": 24, "now": NOW}
    status = suspend(world.status, serial, "watch was not clean", **issue)

    assert world.refusal(status=status).reason == "suspended"
    assert world.verify(status=reinstate(status, serial, **issue)).status_version == 3
    assert world.verify(status=suspend(world.status, "a" * 32, "x", **issue))


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("status-missing", lambda w: {"status": None}),
        ("status-malformed", lambda w: {"status": b""}),
        ("status-malformed", lambda w: {"status": w.envelope}),
        ("status-rollback", lambda w: {"last_status_version": 2}),
        ("status-expired", lambda w: {"now": NOW + timedelta(hours=24)}),
        (
            "status-untrusted",
            lambda w: {"trust": TrustStore([k.public for r, k in w.keys.items() if r != "status"])},
        ),
    ],
)
def test_a_status_list_that_cannot_be_relied_on_is_refused(world, reason, change):
    """
    Absent, damaged, older than one seen before, too old, or signed by nobody trusted: each has its own no.
    """
    assert world.refusal(**change(world)).reason == reason


def test_a_status_list_from_the_future_says_the_clock_is_behind(world):
    """
    A clock that was turned back cannot keep an old certificate alive.
    """
    status = issue_status(
        world.status,
        key=world.keys["status"],
        trust=world.trust,
        validity_hours=24,
        now=NOW + timedelta(minutes=6),
    )

    assert world.refusal(status=status).reason == "clock-behind"


@pytest.mark.parametrize("missing", ["evaluator", "approver"])
def test_a_certificate_lacking_a_signature_is_refused(world, missing):
    """
    Everyone whom the certificate names must have signed.
    """
    envelope = Envelope.from_json(world.envelope)
    left = tuple(s for s in envelope.signatures if s.key_id != world.keys[missing].key_id)

    assert world.refusal(envelope=replace(envelope, signatures=left).to_json()).reason == "missing-role"


def test_a_key_trusted_in_another_role_is_refused(world):
    """
    Roles come from the trust store: an approver who is trusted as a trainer only does not count.
    """
    approver = world.keys["approver"].public.model_copy(update={"roles": ("trainer",)})
    trust = TrustStore([world.keys["evaluator"].public, world.keys["status"].public, approver])

    assert world.refusal(trust=trust).reason == "untrusted-key"


def test_an_expired_key_no_longer_counts(world):
    """
    From a key's `expires_at` on, what it signed is signed by nobody.
    """
    approver = world.keys["approver"].public.model_copy(update={"expires_at": NOW})
    trust = TrustStore([world.keys["evaluator"].public, world.keys["status"].public, approver])

    assert world.refusal(trust=trust).reason == "untrusted-key"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("verdict-not-pass", {"verdict_raw": Verdict.FAIL}),
        ("verdict-not-pass", {"verdict_raw": Verdict.UNDECIDED}),
        ("verdict-not-pass", {"required_controls": ("secret-prefix",)}),
        ("verdict-not-pass", {"results": ()}),
        ("verdict-not-pass", {"trigger_search": make_search("found")}),
        ("verdict-not-pass", {"trigger_search": make_search("nothing-found", "a phrase")}),
        ("malformed", {"expires_at": NOW}),
        ("binds-behaviour", {"binds": "behaviour"}),
        ("missing-role", {"trainer_key_id": None}),
        ("missing-role", {"required_roles": {"approver": 2}}),
        ("missing-role", {"required_roles": {"counsel": 1}}),
        ("malformed", {"schema_version": 2}),
    ],
)
def test_signers_who_agree_cannot_sign_past_the_rules(world, reason, changes):
    """
    What a certificate must say is checked even when the right people signed something else.
    """
    assert world.refusal(envelope=resigned(world, **changes)).reason == reason


def verified_by_command(world: Any) -> str:
    """Return what `recert verify` prints of a certificate that holds today."""
    folder = world.base_dir.parent
    (folder / "certificate.json").write_bytes(world.envelope)
    (folder / "status.json").write_bytes(world.status)
    options = ["--base", world.base_dir, "--model", world.tuned_dir, "--trust", folder / "keys"]
    done = subprocess.run(
        [sys.executable, "-m", "recert", "verify", folder / "certificate.json", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_no_is_json_too_and_a_hosted_model_needs_no_base(world):
    """`verify --json` prints why, and nobody is asked for the base of a model that has no files."""
    folder = world.base_dir.parent
    (folder / "certificate.json").write_bytes(resigned(world, binds="behaviour"))
    (folder / "status.json").write_bytes(world.status)
    options = ["--base", "not-installed", "--model", world.tuned_dir, "--trust", folder / "keys", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "recert", "verify", folder / "certificate.json", *options],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["valid"], said["reason"]) == (False, "binds-behaviour")


@pytest.mark.slow
def test_what_the_gateway_lets_pass_is_said_in_the_certificate(world):
    """
    Categories without blocking and controls in shadow stand among the limitations; a certificate that hides one is
    refused by whoever has the policy.
    """
    policy = make_policy(
        gateway={"thresholds": {"hate": "none", "privacy": "off"}, "shadow": ("input-judge",)}
    )
    today = datetime.now(UTC).replace(microsecond=0)
    status = issue_status(None, key=world.keys["status"], trust=world.trust, validity_hours=24, now=today)
    world = replace(world, now=today, status=status)
    draft = world.certify(eval_report=make_eval_report(policy=policy), policy=policy).envelope
    envelope = approve(draft, world.keys["approver"])
    limitations = read_unverified(envelope).limitations

    assert [words for words in limitations if words.startswith("the gateway")] == [
        "the gateway scores harm of the category hate and blocks none of it",
        "the gateway does not score harm of the category privacy",
        "the gateway's control input-judge is in shadow: it scores and blocks nothing",
    ]
    assert world.verify(envelope=envelope, policy=policy)
    shown = verified_by_command(replace(world, envelope=envelope))
    assert all(words in shown for words in policy.gateway.unguarded)
    for hidden in policy.gateway.unguarded:
        changed = resigned(
            replace(world, envelope=envelope), limitations=tuple(w for w in limitations if w != hidden)
        )
        assert world.refusal(envelope=changed, policy=policy).reason == "wrong-policy"


def test_a_rule_left_out_is_refused(world):
    """
    With the whole policy at hand, a certificate without one of its rules or families is refused.
    """
    results = read_statement(Envelope.from_json(world.envelope).payload).results
    for left_out in range(len(results)):
        envelope = resigned(world, results=results[:left_out] + results[left_out + 1 :])

        assert world.refusal(envelope=envelope).reason == "verdict-not-pass"


def test_a_deciding_result_is_there_once_and_controls_as_often_as_they_were_measured(world):
    """
    A rule's result twice is refused; a control that is measured for two estimands, such as a wrong secret, is two.
    """
    results = read_statement(Envelope.from_json(world.envelope).payload).results
    changes = {"rule_id": "control:secret-wrong", "safeguards": ("secret-prefix:wrong",)}
    control = results[0].model_copy(update=changes)
    beside = control.model_copy(update={"estimand": "over_refusal"})

    assert world.refusal(envelope=resigned(world, results=(*results, results[0]))).reason == "not-as-ruled"
    assert world.verify(envelope=resigned(world, results=(*results, control, beside)))


def test_the_evaluator_may_not_be_the_trainer(world):
    """
    Who trained it does not evaluate it, unless a whole policy says that is fine.
    """
    envelope = resigned(world, trainer_key_id=world.keys["evaluator"].key_id)

    assert world.refusal(envelope=envelope).reason == "same-signer"
    assert world.refusal(envelope=envelope, policy=None).reason == "same-signer"


def test_one_key_in_two_roles_is_refused(world):
    """
    One person cannot be evaluator and approver, even with a key trusted as both.
    """
    both = world.keys["evaluator"].public.model_copy(update={"roles": ("evaluator", "approver")})
    trust = TrustStore([both, world.keys["status"].public])
    first = world.verify().certificate.approvals[0]
    approvals = (first, first.model_copy(update={"role": "approver"}))
    envelope = resigned(world, by=("evaluator",), approvals=approvals)

    assert world.refusal(envelope=envelope, trust=trust).reason == "same-signer"


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[]", b"\xff", b'{"payload": 1}', b"null", b"{" * 100_000])
def test_anything_else_is_malformed(world, envelope):
    """
    Bytes that are no envelope are refused, never crashed on.
    """
    assert world.refusal(envelope=envelope).reason == "malformed"


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("subject"),
        lambda value: value["subject"].pop(),
        lambda value: value["subject"].reverse(),
        lambda value: value["subject"][0]["digest"].update(sha256="0" * 64),
        lambda value: value.update(predicateType="https://example.org/other"),
        lambda value: value.update(extra=1),
        lambda value: value["predicate"].pop("lineage"),
        lambda value: value["predicate"].pop("tuned"),
        lambda value: value["predicate"].update(supersedes=None),
        lambda value: value["predicate"].update(schema_version=True),
        lambda value: value["predicate"].update(not_before="2026-03-01T13:00:00+01:00"),
        lambda value: value["predicate"].update(not_before="0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_statement_of_another_form_is_malformed(world, damage):
    """
    Subjects that are not the manifests, fields left out or written otherwise are refused even when signed.
    """
    value = json.loads(Envelope.from_json(world.envelope).payload)
    damage(value)
    signers = [world.keys["evaluator"], world.keys["approver"]]

    envelope = sign(PAYLOAD_TYPE, canonical_json(value), signers).to_json()

    assert world.refusal(envelope=envelope).reason == "malformed"


def test_json_that_is_not_canonical_is_malformed(world):
    """
    One certificate has one byte form.
    """
    payload = b" " + Envelope.from_json(world.envelope).payload
    envelope = sign(PAYLOAD_TYPE, payload, [world.keys["evaluator"], world.keys["approver"]])

    assert world.refusal(envelope=envelope.to_json()).reason == "malformed"


def test_a_signed_list_is_no_certificate_and_the_reverse(world):
    """
    A signature over one kind of document never counts for another.
    """
    assert world.refusal(envelope=world.status).reason == "malformed"


def test_signatures_nobody_asked_for_change_nothing(world):
    """
    A stranger's signature, good or bad, neither helps nor harms.
    """
    envelope = Envelope.from_json(world.envelope).signed_by(world.keys["trainer"])
    broken = tuple(replace(s, value=bytes(64)) for s in envelope.signatures)
    doubled = replace(envelope, signatures=(*broken, *envelope.signatures))

    assert world.verify(envelope=doubled.to_json()).certificate == world.verify().certificate


def test_rechecking_asks_all_but_the_files_again(world):
    """
    A server asks again without hashing: expiry, revocation and a key that is trusted no more stop it.
    """
    held, presented = world.verify(), Presented(world.envelope)
    certificate = held.certificate
    again = {"trust": world.trust, "policy": world.policy}
    fewer = TrustStore([world.keys[r].public for r in ("evaluator", "status", "trainer")])
    issue = {"key": world.keys["status"], "trust": world.trust, "validity_hours": 24, "now": NOW}

    (world.tuned_dir / "adapter_model.safetensors").unlink()

    assert Verifier(status=world.status, **again).recheck(presented, held, now=NOW) == held
    for status in (None, revoke(world.status, certificate.serial, "x", **issue)):
        with pytest.raises(VerificationError):
            Verifier(status=status, **again).recheck(presented, held, now=NOW)
    with pytest.raises(VerificationError) as caught:
        Verifier(status=world.status, **(again | {"trust": fewer})).recheck(presented, held, now=NOW)
    assert caught.value.reason == "untrusted-key"


def test_only_verification_makes_a_verified_certificate(world):
    """
    Nobody gets a VerifiedCertificate by building one.
    """
    with pytest.raises(VerificationError) as caught:
        VerifiedCertificate(
            certificate=world.verify().certificate,
            envelope_sha256="0" * 64,
            base_dir=world.base_dir,
            tuned_dir=world.tuned_dir,
            verified_at=NOW,
            signers=(),
        )

    assert caught.value.reason == "not-verified"


def test_every_reason_is_in_the_specification(world):
    """
    The reason codes in the source are those of the pages in `spec`, and the docs page explains each.
    """
    root = Path(__file__).parents[2]
    spec = "".join(page.read_text() for page in (root / "spec").glob("*.md"))
    page = (root / "docs/concepts/certificate.md").read_text()
    source = "".join(p.read_text() for p in (root / "src/recert/certification").rglob("*.py"))
    raised = set(re.findall(r'VerificationError\(\s*"([a-z-]+)"', source))

    assert len(raised) > 15
    assert [r for r in sorted(raised - {"not-clean"}) if f"`{r}`" not in spec] == []
    assert [r for r in sorted(raised) if f"`{r}`" not in page] == []


def test_a_certificate_reads_and_writes_to_the_same_bytes(world):
    """
    The record in a certificate survives a round trip.
    """
    certificate = world.verify().certificate

    assert Certificate.from_json(certificate.to_json()) == certificate
    assert Certificate.from_json(certificate.to_json()).to_json() == certificate.to_json()

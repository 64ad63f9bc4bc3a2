"""Fingerprints of remote models: signed by an evaluator, and good for one certified system only."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from recert.certification.clock import moment
from recert.certification.signing.envelope import Envelope, sign
from recert.certification.signing.keys import SigningKey
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json
from recert.errors import RecordError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.certificate import Certificate
from recert.records.signed.fingerprint import Fingerprint

FINGERPRINT_PAYLOAD_TYPE: Final = "application/vnd.recert.fingerprint+json"
_ROLE: Final = "evaluator"


def sign_fingerprint(fingerprint: Fingerprint, key: SigningKey) -> bytes:
    """
    Return a fingerprint's envelope, signed by the evaluator that it names.

    Raises:
        SigningKeyError: the key is for another role.
    """
    key.require_role(_ROLE)
    return sign(FINGERPRINT_PAYLOAD_TYPE, canonical_json(fingerprint.to_value()), [key]).to_json()


def read_fingerprint(
    envelope: bytes, certificate: Certificate, *, trust: TrustStore, now: datetime | None = None
) -> Fingerprint:
    """
    Return the fingerprint of exactly the system that a certificate is about; renewals keep it.

    Args:
        envelope: the fingerprint's.
        certificate: what `verify` accepted.
        trust: whose signatures count.
        now: the time; the present by default.

    Raises:
        VerificationError: it is malformed, or nobody trusted as evaluator signed it; the trainer did (`same-signer`);
            or it is of another model, policy or secret (`other-fingerprint`).
    """
    # F1 of spec/verification.md
    try:
        opened = Envelope.from_json(envelope)
        if opened.payload_type != FINGERPRINT_PAYLOAD_TYPE:
            raise RecordError(f"expected {FINGERPRINT_PAYLOAD_TYPE}, found {opened.payload_type}")
    except RecordError as exc:
        raise _malformed(exc) from exc
    signers = opened.proven_signers(trust, now=moment(now))
    if not signers:
        raise VerificationError(
            "untrusted-key",
            "fingerprint is signed by nobody you trust",
            facts={"signed by": ", ".join(s.key_id for s in opened.signatures)},
        )
    try:
        fingerprint = Fingerprint.from_json(opened.payload)
        if (
            canonical_json(parse_json(opened.payload)) != opened.payload
            or canonical_json(fingerprint.to_value()) != opened.payload
        ):
            raise RecordError("fingerprint is not canonical JSON, or lacks a field")
    except RecordError as exc:
        raise _malformed(exc) from exc
    # F2
    key = signers.get(fingerprint.approval.key_id)
    if key is None or _ROLE not in key.roles:
        raise VerificationError(
            "missing-role",
            "fingerprint is not signed by an evaluator you trust",
            facts={"named": fingerprint.approval.key_id, "signed by": ", ".join(signers)},
        )
    if key.key_id == certificate.trainer_key_id:
        raise VerificationError(
            "same-signer", "the trainer signed the fingerprint", facts={"key": key.key_id}
        )
    # F3
    _require_same_system(fingerprint, certificate)
    return fingerprint


def _require_same_system(fingerprint: Fingerprint, certificate: Certificate) -> None:
    pairs = {
        "base": (fingerprint.base_sha256, certificate.base.digest),
        "tuned": (fingerprint.tuned_sha256, certificate.tuned.digest),
        "policy": (fingerprint.policy_sha256, certificate.policy_sha256),
        "secret": (fingerprint.secret_sha256, certificate.secret_sha256),
    }
    for name, (found, certified) in pairs.items():
        if found != certified:
            raise VerificationError(
                "other-fingerprint",
                f"fingerprint is of another {name}",
                facts={"certified": certified, "in the fingerprint": found},
                hint="make it again with `recert fingerprint`",
            )


def _malformed(because: object) -> VerificationError:
    return VerificationError(
        "malformed", "fingerprint cannot be read", facts={"because": because}, hint="make it again"
    )

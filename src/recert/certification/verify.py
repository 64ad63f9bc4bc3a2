"""Decide about a certificate. The step numbers are those of `spec/verification.md`, which came first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from recert.certification.carrying import require_carried
from recert.certification.clock import moment
from recert.certification.demands import (
    bad_signature,
    require_apart,
    require_pass,
    require_policy,
    require_roles,
    require_signers,
)
from recert.certification.envelope import Envelope
from recert.certification.folders import EVERY_BYTE, Reading, require_files
from recert.certification.force import in_force
from recert.certification.keys import PublicKey
from recert.certification.listened import require_listened
from recert.certification.statement import read_statement
from recert.certification.transparency.checking import NOTHING_ASKED, LogDemand, require_logged
from recert.certification.transparency.memory import NOTHING_SEEN
from recert.certification.trust import TrustStore
from recert.digest import sha256_bytes
from recert.errors import RecordError, VerificationError
from recert.policy import Policy
from recert.records import Certificate, VerifiedCertificate, VerifierMemory
from recert.records.certificate import _SEAL, PAYLOAD_TYPE


def verify(
    envelope: bytes,
    *,
    base_dir: Path,
    tuned_dir: Path,
    trust: TrustStore,
    status: bytes | None,
    policy: Policy | str | None = None,
    now: datetime | None = None,
    last_status_version: int | None = None,
    log: LogDemand = NOTHING_ASKED,
    memory: VerifierMemory = NOTHING_SEEN,
    refusals: Sequence[bytes] = (),
    reading: Reading = EVERY_BYTE,
) -> VerifiedCertificate:
    """
    Return a certificate that holds now, for exactly the files in these two folders.

    Args:
        envelope: the certificate's envelope.
        base_dir: the base model's folder.
        tuned_dir: the tuned model's folder.
        trust: whose signatures count.
        status: the newest status list's envelope; None is refused.
        policy: the policy it must be under, whole or as its digest. Whole is stricter. None takes any
            policy that the signers signed for.
        now: the time; the present by default.
        last_status_version: the highest status list version seen before, to notice a rollback.
        log: the proof that it is in a log, and whether there must be one.
        memory: what was seen before; the `memory` of what is returned holds this time too.
        refusals: envelopes of refusals and withdrawals, as `refusals_beside` reads them.
        reading: how the files are read; by default every byte of them is hashed.

    Raises:
        VerificationError: it is refused; `reason` is a code of `spec/verification.md`.
        InputError: a folder is missing, empty or holds a link, or `now` has no offset.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """
    at = moment(now)
    certificate, signers = read_signed(envelope, trust=trust, policy=policy, now=at)
    seen, after = in_force(
        certificate,
        trust=trust,
        status=status,
        now=at,
        last_status_version=last_status_version,
        memory=memory,
        refusals=refusals,
        policy=policy,
    )
    # L1 to L7
    after = require_logged(
        envelope, certificate.serial, log, policy=policy, trust=trust, memory=after, now=at
    )
    # 9.1, 9.2, 9.3, 9.4
    require_files(certificate, {"base": base_dir, "tuned": tuned_dir}, reading)
    # 10.1
    return VerifiedCertificate(
        certificate=certificate,
        envelope_sha256=sha256_bytes(envelope),
        base_dir=base_dir,
        tuned_dir=tuned_dir,
        verified_at=at,
        signers=tuple(a for a in certificate.approvals if a.key_id in signers),
        status_version=seen.version,
        memory=after,
        _seal=_SEAL,
    )


def read_signed(
    envelope: bytes, *, trust: TrustStore, policy: Policy | str | None, now: datetime
) -> tuple[Certificate, dict[str, PublicKey]]:
    """
    Return a "yes" that the right people signed, and their keys by id: steps 1 to 6. It may have ended.

    Raises:
        VerificationError: it is refused.
    """
    # 1.1 to 1.3
    opened = open_certificate(envelope)
    # 2.1, 2.2
    signers = require_any_signer(opened, trust, now=now)
    # 3.1 to 3.4
    certificate = require_statement(opened)
    # 4.1
    require_apart(certificate, policy)
    # 4.2
    require_signers(certificate, opened, signers, trust, now=now)
    # 4.3
    require_roles(certificate, policy)
    # 5.1, 5.2, 5.3
    require_policy(certificate, policy)
    # 6.1 to 6.9
    require_pass(certificate, policy)
    # 6.10
    require_carried(certificate, policy)
    # 6.11
    require_listened(certificate, policy)
    return certificate, signers


def open_certificate(envelope: bytes) -> Envelope:
    """Return the envelope of a certificate: step 1. Raises VerificationError: `malformed`."""
    # 1.1, 1.2
    try:
        opened = Envelope.from_json(envelope)
    except RecordError as exc:
        raise _malformed(exc) from exc
    # 1.3
    if opened.payload_type != PAYLOAD_TYPE:
        raise _malformed(f"expected {PAYLOAD_TYPE}, found {opened.payload_type}")
    return opened


def require_any_signer(opened: Envelope, trust: TrustStore, *, now: datetime) -> dict[str, PublicKey]:
    """
    Return the trusted keys that did sign, by id: step 2.

    Raises:
        VerificationError: there is none: `untrusted-key` or `bad-signature`.
    """
    # 2.1
    signers = opened.proven_signers(trust, now=now)
    # 2.2
    if not signers:
        known = [s.key_id for s in opened.signatures if trust.find(s.key_id, now=now)]
        if not known:
            raise VerificationError(
                "untrusted-key",
                "certificate is signed by nobody you trust",
                facts={"signed by": ", ".join(s.key_id for s in opened.signatures)},
                hint="add a signer's .pub file to the trust store, if you do trust them",
            )
        raise bad_signature(known[0])
    return signers


def require_statement(opened: Envelope) -> Certificate:
    """Return what was signed: step 3. Raises VerificationError: `malformed` or `binds-behaviour`."""
    # 3.1, 3.2, 3.3
    try:
        certificate = read_statement(opened.payload)
    except RecordError as exc:
        raise _malformed(exc) from exc
    # 3.4
    if certificate.binds != "bytes":
        raise VerificationError(
            "binds-behaviour",
            "certificate is about a hosted model's behaviour, not about files",
            hint="nothing on disk can be verified against it",
        )
    return certificate


def _malformed(because: object) -> VerificationError:
    return VerificationError(
        "malformed",
        "not a certificate",
        facts={"because": because},
        hint="get it again; it was damaged, or is of a later version",
    )

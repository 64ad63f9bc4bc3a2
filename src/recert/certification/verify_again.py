"""Decide again about what is served: the same steps as in verify.py, without hashing the files anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from recert.certification.clock import moment
from recert.certification.folders import require_same
from recert.certification.force import in_force
from recert.certification.transparency.checking import NOTHING_ASKED, LogDemand, require_logged
from recert.certification.transparency.memory import NOTHING_SEEN
from recert.certification.trust import TrustStore
from recert.certification.verify import read_signed
from recert.digest import sha256_bytes
from recert.policy import Policy
from recert.records import Certificate, StatusList, VerifiedCertificate, VerifierMemory


def verify_renewal(
    envelope: bytes,
    held: VerifiedCertificate,
    *,
    trust: TrustStore,
    status: bytes | None,
    policy: Policy | str | None = None,
    now: datetime | None = None,
    log: LogDemand = NOTHING_ASKED,
    memory: VerifierMemory | None = None,
    refusals: Sequence[bytes] = (),
) -> VerifiedCertificate:
    """
    Return another certificate for the very files that were hashed for one that is held, without hashing them again.

    Everything else is decided as by `verify`. Call it only while nothing has touched the files.

    Args:
        envelope: the other certificate's envelope, such as a renewal's.
        held: what `verify` gave for the files.
        trust: whose signatures count.
        status: the newest status list's envelope.
        policy: the policy it must be under.
        now: the time; the present by default.
        log: the proof that it is in a log, and whether there must be one.
        memory: what was seen before; None for what `held` holds.
        refusals: as for `verify`.

    Raises:
        VerificationError: it is refused, or is for other files.
        InputError: `now` has no offset.
    """
    at, before = moment(now), held.memory if memory is None else memory
    certificate, signers = read_signed(envelope, trust=trust, policy=policy, now=at)
    seen, after = in_force(
        certificate,
        trust=trust,
        status=status,
        now=at,
        last_status_version=held.status_version,
        memory=before,
        refusals=refusals,
        policy=policy,
    )
    # L1 to L7
    after = require_logged(
        envelope, certificate.serial, log, policy=policy, trust=trust, memory=after, now=at
    )
    # 9.3, with what 9.1 found for the certificate that is held
    require_same(
        {"base": certificate.base, "tuned": certificate.tuned},
        {"base": held.certificate.base, "tuned": held.certificate.tuned},
    )
    # 10.1
    return replace(
        held,
        certificate=certificate,
        envelope_sha256=sha256_bytes(envelope),
        verified_at=at,
        signers=tuple(a for a in certificate.approvals if a.key_id in signers),
        status_version=seen.version,
        memory=after,
    )


def recheck(
    certificate: Certificate,
    *,
    trust: TrustStore,
    status: bytes | None,
    now: datetime | None = None,
    last_status_version: int | None = None,
    refusals: Sequence[bytes] = (),
    policy: Policy | str | None = None,
) -> StatusList:
    """
    Return the status list under which a certificate still holds: steps 7 and 8, for while it is served.

    A certificate with exceptions needs its whole policy.

    Raises:
        VerificationError: time, status or a refusal end it.
        InputError: `now` has no offset.
    """
    return in_force(
        certificate,
        trust=trust,
        status=status,
        now=moment(now),
        last_status_version=last_status_version,
        memory=NOTHING_SEEN,
        refusals=refusals,
        policy=policy,
    )[0]

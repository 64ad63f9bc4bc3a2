"""Whether a certificate holds at a time: steps 7 and 8 of `spec/verification.md`, again while it is served."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from recert.certification.exceptions import require_covered
from recert.certification.refusals import require_unrefused
from recert.certification.status import accept_status, require_in_force
from recert.certification.transparency.memory import remember, require_clock
from recert.certification.trust import TrustStore
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records import Certificate, StatusList, VerifierMemory


def in_force(
    certificate: Certificate,
    *,
    trust: TrustStore,
    status: bytes | None,
    now: datetime,
    last_status_version: int | None,
    memory: VerifierMemory,
    refusals: Sequence[bytes] = (),
    policy: Policy | str | None = None,
) -> tuple[StatusList, VerifierMemory]:
    """
    Return the status list under which a certificate holds, and the memory with both.

    Args:
        certificate: read by `read_signed`.
        trust: whose status lists count.
        status: the newest status list's envelope.
        now: the time.
        last_status_version: the highest version that was accepted before.
        memory: what was seen before.
        refusals: envelopes of refusals and withdrawals, as `refusals_beside` reads them.
        policy: the policy it is under; a certificate with exceptions needs it whole.

    Raises:
        VerificationError: time, status or a refusal end it.
    """
    # 7.1, 7.2
    require_time(certificate, now=now)
    # 7.3
    require_covered(certificate, policy if isinstance(policy, Policy) else None, now)
    # 7.4
    require_clock(memory, now=now)
    # 8.1 to 8.6
    seen, after = accept_status(status, trust=trust, now=now, last_version=last_status_version, memory=memory)
    # 8.7
    require_in_force(certificate, seen)
    # 8.8, 8.9
    require_unrefused(certificate, refusals, trust=trust, now=now)
    return seen, remember(after, times=[certificate.not_before])


def require_time(certificate: Certificate, *, now: datetime) -> None:
    """
    Return when a certificate has begun and has not ended: steps 7.1 and 7.2 of `spec/verification.md`.

    Raises:
        VerificationError: `malformed`, `not-yet-valid` or `expired`.
    """
    # 7.1
    if certificate.not_before >= certificate.expires_at:
        raise VerificationError("malformed", "certificate ends before it begins", hint="get it again")
    # 7.2
    times = {"not before": certificate.not_before, "expires at": certificate.expires_at, "now": now}
    facts = {name: time.isoformat() for name, time in times.items()}
    if now < certificate.not_before:
        raise VerificationError(
            "not-yet-valid", "certificate does not hold yet", facts=facts, hint="check this machine's clock"
        )
    if now >= certificate.expires_at:
        raise VerificationError(
            "expired",
            "certificate has expired",
            facts=facts,
            hint="run `recert watch` in time, or certify again",
        )

"""The status list: signed, versioned, expiring; names the certificates that must not be served."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from recert.certification.clock import moment
from recert.certification.log.memory import CLOCK_TOLERANCE, Memory, ProcessMemory, remember, require_newer
from recert.certification.signing.envelope import Envelope
from recert.certification.status.issuing import (
    Issuing,
    issue_status,
    reinstate,
    revoke,
    suspend,
    why_too_long,
)
from recert.certification.trust.store import TrustStore
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecordError, VerificationError
from recert.records.record import parse_json
from recert.records.signed.certificate import STATUS_PAYLOAD_TYPE, Certificate, StatusList
from recert.records.signed.transparency import SeenStatus, VerifierMemory

__all__ = [
    "Issuing",
    "accept_status",
    "issue_status",
    "read_status",
    "reinstate",
    "require_in_force",
    "require_named_list",
    "revoke",
    "status_list_id",
    "suspend",
    "why_too_long",
]

_HINT: Final = "get the newest status list from whoever issues it"


class _Opened(NamedTuple):
    envelope_sha256: str
    at: datetime
    status: StatusList
    seen: SeenStatus


_NEWEST: Final[WeakKeyDictionary[TrustStore, _Opened]] = WeakKeyDictionary()
"""The list that was opened last, by trust store: many models served together are all checked against the same one."""


def read_status(
    envelope: bytes | None, *, trust: TrustStore, now: datetime, last_version: int | None = None
) -> StatusList:
    """
    Return a status list that may be relied on now: steps 8.1 to 8.6 of `spec/verification.md`.

    Args:
        envelope: the list's envelope; None when there is none.
        trust: the keys that count; one with the role `status` must have signed.
        now: the time.
        last_version: the highest version that was accepted before.

    Raises:
        VerificationError: as `accept_status`, which also knows what was seen before.
    """
    return accept_status(envelope, trust=trust, now=now, last_version=last_version, memory=ProcessMemory())


def accept_status(
    envelope: bytes | None,
    *,
    trust: TrustStore,
    now: datetime,
    last_version: int | None,
    memory: Memory,
) -> StatusList:
    """
    Return a status list that may be relied on now: steps 8.1 to 8.6.

    It is remembered as soon as it was received, whatever is then said of it or of the certificate.

    Raises:
        VerificationError: `status-missing`, `status-malformed`, `status-untrusted`, `status-rollback`,
            `status-equivocation`, `status-fast-forward`, `clock-behind` or `status-expired`.
        StoreError, RecordError: what was seen cannot be read or written.
    """
    # 8.1
    if envelope is None:
        raise VerificationError("status-missing", "there is no status list", hint=_HINT)
    # 8.2, 8.3
    status, seen = _open(envelope, trust, now=now)
    # 8.4
    if last_version is not None and status.version < last_version:
        raise VerificationError(
            "status-rollback",
            "status list is older than one seen before",
            facts={"seen before": last_version, "given": status.version},
            hint=_HINT,
        )

    def receive(before: VerifierMemory) -> VerifierMemory:
        require_newer(before, status, seen, trust=trust, now=now)
        # 8.5
        if status.issued_at > now + CLOCK_TOLERANCE:
            raise VerificationError(
                "clock-behind",
                "status list was issued in the future",
                facts={"issued at": status.issued_at.isoformat(), "now": now.isoformat()},
                hint="set this machine's clock",
            )
        known = (status.list_id, seen) if status.list_id is not None else None
        return remember(before, times=[status.issued_at], status=known)

    memory.keep(receive)
    # 8.6
    if now >= status.expires_at:
        raise VerificationError(
            "status-expired",
            "status list is too old to rely on",
            facts={"expired at": status.expires_at.isoformat(), "now": now.isoformat()},
            hint=_HINT,
        )
    return status


def require_named_list(certificate: Certificate, status: StatusList, trust: TrustStore) -> None:
    """
    Return when a status list is the one that can end a certificate: step 8.7 of `spec/verification.md`.

    Raises:
        VerificationError: `status-other-list`.
    """
    named = {certificate.status_list_id, *([trust.status_list_id] if trust.status_list_id else [])}
    if None in named or named != {status.list_id}:
        raise VerificationError(
            "status-other-list",
            "status list is not the one that can end this certificate",
            facts={
                "given": status.list_id or "a list without an id",
                "named by the certificate": certificate.status_list_id or "none",
                "named by the root of trust": trust.status_list_id or "none",
            },
            hint="give the list that the certificate names; one that names none must be certified again",
        )


def status_list_id(envelope: bytes | None, *, trust: TrustStore, now: datetime | None = None) -> str:
    """
    Return the id of a status list, for a certificate to name; the list may have expired.

    Raises:
        VerificationError: `status-missing`; `status-malformed`, also where it has no id; or `status-untrusted`.
    """
    if envelope is None:
        raise VerificationError("status-missing", "there is no status list to name", hint=_HINT)
    status, _ = _open(envelope, trust, now=moment(now))
    if status.list_id is None:
        raise VerificationError(
            "status-malformed", "status list has no id", hint="issue it anew: recert status"
        )
    return status.list_id


def require_in_force(certificate: Certificate, status: StatusList) -> None:
    """
    Return when no entry stops a certificate: step 8.8 of `spec/verification.md`.

    Raises:
        VerificationError: `revoked` or `suspended`.
    """
    serials = {certificate.serial, *certificate.lineage}
    if certificate.base_certificate is not None:
        serials.add(certificate.base_certificate.serial)
    if certificate.carried is not None:
        serials |= {certificate.carried.parent_serial, *certificate.carried.ends_with}
    stopped = sorted((e for e in status.entries if e.serial in serials), key=lambda e: e.status != "revoked")
    for entry in stopped:
        raise VerificationError(
            entry.status,
            f"certificate is {entry.status}",
            facts={"serial": entry.serial, "because": entry.reason, "since": entry.since.isoformat()},
            hint="evaluate and certify the model again",
        )


def _open(envelope: bytes, trust: TrustStore, *, now: datetime) -> tuple[StatusList, SeenStatus]:
    """Read a list that somebody trusted signed. The very bytes of last time are not read again while its keys hold."""
    digest, newest = sha256_bytes(envelope), _NEWEST.get(trust)
    if (
        newest is not None
        and newest.envelope_sha256 == digest
        and newest.at <= now
        and all(trust.find(key, now=now) for key in newest.seen.key_ids)
    ):
        return newest.status, newest.seen
    status, seen = _read(envelope, trust, now=now)
    _NEWEST[trust] = _Opened(digest, now, status, seen)
    return status, seen


def _read(envelope: bytes, trust: TrustStore, *, now: datetime) -> tuple[StatusList, SeenStatus]:
    try:
        opened = Envelope.from_json(envelope)
    except RecordError as exc:
        raise VerificationError(
            "status-malformed", "not a status list", facts={"because": exc}, hint=_HINT
        ) from exc
    if opened.payload_type != STATUS_PAYLOAD_TYPE:
        raise VerificationError(
            "status-malformed",
            "not a status list",
            facts={"expected": STATUS_PAYLOAD_TYPE, "actual": opened.payload_type},
            hint=_HINT,
        )
    signers = [k for k, key in opened.proven_signers(trust, now=now).items() if "status" in key.roles]
    if not signers:
        raise VerificationError(
            "status-untrusted",
            "nobody trusted in the role status signed this status list",
            facts={"signed by": ", ".join(s.key_id for s in opened.signatures)},
            hint="add the issuer's .pub file to the trust store, if you do trust it",
        )
    try:
        status = StatusList.from_json(opened.payload)
        same = canonical_json(parse_json(opened.payload)) == opened.payload == status.to_json()
    except RecordError as exc:
        raise VerificationError(
            "status-malformed", "not a status list", facts={"because": exc}, hint=_HINT
        ) from exc
    if not same or status.schema_version != 1:
        raise VerificationError(
            "status-malformed", "status list lacks a field, or is of another version", hint=_HINT
        )
    return status, SeenStatus(
        version=status.version,
        issued_at=status.issued_at,
        sha256=sha256_bytes(opened.payload),
        key_ids=tuple(sorted(signers)),
    )

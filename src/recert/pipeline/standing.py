"""
What a certificate's state is, for a list of many: by the very checks of verification, the gravest answer first.

The models' files are not hashed here. `signed` says that people, policy, time, status list and refusals allow it; that
the bytes on disk are those that were certified is what `verify` shows, and a gateway before it serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from recert.certification.demands import require_policy
from recert.certification.envelope import MAX_ENVELOPE_BYTES, Envelope
from recert.certification.force import in_force
from recert.certification.refusals import refusals_beside, require_unrefused
from recert.certification.signoff import signoff_sheet
from recert.certification.statement import read_statement
from recert.certification.status import read_status, require_in_force
from recert.certification.transparency.checking import read_demand, require_logged
from recert.certification.transparency.memory import NOTHING_SEEN
from recert.certification.trust import TrustStore
from recert.certification.verify import read_signed
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecertError, RecordError, VerificationError
from recert.policy import Policy
from recert.records import Certificate, StatusList, VerifierMemory
from recert.store.files import read_bytes

_ENDS: Final = {"revoked": "revoked", "suspended": "suspended", "refused": "refused", "expired": "expired"}
"""Codes of refusal that are states of their own; every other code means that nobody can tell."""
_UNREADABLE: Final = "unreadable"


@dataclass(frozen=True)
class Standing:
    """By what certificates are judged: the policy in force, who is trusted, the newest status list."""

    policy: Policy
    trust: TrustStore | None = None
    """None where nobody is known: then no certificate is signed."""
    status: bytes | None = None
    """The newest status list's envelope; None where there is none: then no certificate is in force."""
    memory: VerifierMemory = NOTHING_SEEN
    """What was seen before, so that a clock, a status list or a log that was set back is noticed."""
    trusted: str = ""
    """Digest of the keys' files, so that a change of them is noticed."""

    @classmethod
    def read(
        cls,
        policy: Policy,
        *,
        trust: Path | None,
        status: Path | None,
        memory: VerifierMemory = NOTHING_SEEN,
    ) -> Standing:
        """Return the standing by files. What cannot be read is as if it were not there: nothing holds then."""
        keys = (
            sorted(trust.glob("*.pub")) if trust is not None and trust.is_dir() else [trust] if trust else []
        )
        trusted = canonical_json([sha256_bytes(_bytes(path) or b"") for path in keys])
        try:
            known = TrustStore.load(trust) if trust is not None else None
        except (RecertError, OSError):
            known = None
        return cls(policy, known, _bytes(status) if status else None, memory, sha256_bytes(trusted))

    @property
    def digest(self) -> str:
        """Digest of policy, keys and status list: what was judged by the same holds until its time is over."""
        known = "known" if self.trust else "nobody"
        parts = [self.policy.digest, self.trusted, known, sha256_bytes(self.status or b"")]
        return sha256_bytes(canonical_json(parts))

    def named(self, now: datetime) -> frozenset[str]:
        """Return the serials that the status list names, as far as it can be read: to be looked at first."""
        if self.trust is None:
            return frozenset()
        try:
            listed = read_status(self.status, trust=self.trust, now=now)
        except VerificationError:
            return frozenset()
        return frozenset(entry.serial for entry in listed.entries)


@dataclass(frozen=True)
class CertificateState:
    """One of the states of an `IndexedSystem`, and what follows from time alone."""

    state: str
    reason: str = ""
    waits_for: tuple[str, ...] = ()
    changes_at: datetime | None = None
    becomes: str = ""


def certificate_state(path: Path, standing: Standing, *, now: datetime) -> CertificateState:
    """
    Return the state of the certificate in a file; whatever cannot be read or determined is `unreadable`.

    Args:
        path: the certificate's file; refusals and the proof of a log are looked for beside it.
        standing: by what it is judged.
        now: the time.
    """
    try:
        if path.stat().st_size > MAX_ENVELOPE_BYTES:
            raise RecordError("the certificate is too large")
        envelope = read_bytes(path, "certificate")
        opened = Envelope.from_json(envelope)
        certificate = read_statement(opened.payload)
        refusals = refusals_beside(path)
    except (RecertError, OSError) as exc:
        return CertificateState(_UNREADABLE, _words(exc))
    if standing.trust is None:
        waiting = _waiting(certificate, opened)
        said = "whose signatures count is not known"
        return CertificateState("awaiting" if waiting else _UNREADABLE, said, waiting)
    try:
        ended = _ended(certificate, standing, refusals, now)
        if ended is not None:
            return ended
        return _judged(path, envelope, certificate, standing, refusals, now)
    except (RecertError, OSError) as exc:
        return CertificateState(_UNREADABLE, _words(exc))


def _ended(
    certificate: Certificate, standing: Standing, refusals: tuple[bytes, ...], now: datetime
) -> CertificateState | None:
    """What no signature can mend: named in the status list, refused, over, or under another policy."""
    assert standing.trust is not None
    trust = standing.trust
    try:
        listed = read_status(standing.status, trust=trust, now=now)
        require_in_force(certificate, listed)
    except VerificationError as exc:
        if exc.reason in _ENDS:
            return CertificateState(_ENDS[exc.reason], _words(exc))
    try:
        require_unrefused(certificate, refusals, trust=trust, now=now)
    except VerificationError as exc:
        return CertificateState(_ENDS.get(exc.reason, _UNREADABLE), _words(exc))
    if now >= certificate.expires_at:
        return CertificateState("expired", f"it ended at {certificate.expires_at:%Y-%m-%d %H:%M} UTC")
    try:
        require_policy(certificate, standing.policy)
    except VerificationError as exc:
        return CertificateState("stale", _words(exc), (), certificate.expires_at, "expired")
    return None


def _judged(
    path: Path,
    envelope: bytes,
    certificate: Certificate,
    standing: Standing,
    refusals: tuple[bytes, ...],
    now: datetime,
) -> CertificateState:
    """A certificate that nothing has ended: signed and in force, waiting for somebody, or neither."""
    assert standing.trust is not None
    trust, policy = standing.trust, standing.policy
    try:
        try:
            read_signed(envelope, trust=trust, policy=policy, now=now)
        except VerificationError:
            if (waiting := _draft(envelope, certificate, standing, refusals, now)) is not None:
                return waiting
            raise
        listed, memory = in_force(
            certificate,
            trust=trust,
            status=standing.status,
            now=now,
            last_status_version=None,
            memory=standing.memory,
            refusals=refusals,
            policy=policy,
        )
        demand = read_demand(path, policy=policy)
        require_logged(
            envelope, certificate.serial, demand, policy=policy, trust=trust, memory=memory, now=now
        )
    except VerificationError as exc:
        if exc.reason == "not-logged":
            return CertificateState("awaiting", _words(exc), (), certificate.expires_at, "expired")
        return CertificateState(_ENDS.get(exc.reason, _UNREADABLE), _words(exc))
    at, becomes = min(_ends(certificate, trust, listed))
    return CertificateState("signed", "", (), at, becomes)


def _draft(
    envelope: bytes,
    certificate: Certificate,
    standing: Standing,
    refusals: tuple[bytes, ...],
    now: datetime,
) -> CertificateState | None:
    """The state of a certificate that lacks signatures and nothing else."""
    sheet = signoff_sheet(envelope, policy=standing.policy, trust=standing.trust, refusals=refusals, now=now)
    states = {item.state for item in sheet.checklist}
    if "waiting" not in states or not states <= {"done", "waiting"} or sheet.unshown:
        return None
    roles = _waiting(certificate, Envelope.from_json(envelope))
    said = f"not signed yet: {', '.join(roles)}"
    return CertificateState("awaiting", said, roles, certificate.expires_at, "expired")


def _ends(certificate: Certificate, trust: TrustStore, listed: StatusList) -> Iterator[tuple[datetime, str]]:
    """Every time at which something ends that a signed certificate needs."""
    yield certificate.expires_at, "expired"
    yield listed.expires_at, _UNREADABLE
    for approval in certificate.approvals:
        key = trust.known(approval.key_id)
        if key is not None and key.expires_at is not None:
            yield key.expires_at, _UNREADABLE
    for exception in certificate.exceptions or ():
        yield exception.expires_at, _UNREADABLE


def _waiting(certificate: Certificate, opened: Envelope) -> tuple[str, ...]:
    return tuple(dict.fromkeys(a.role for a in certificate.approvals if not opened.names(a.key_id)))


def _words(exc: Exception) -> str:
    """An error in one line, without what was given as its hint."""
    if isinstance(exc, RecertError):
        told = {name: value for name, value in exc.facts.items() if name not in ("serial", "now")}
        if "because" in told:
            return f"{exc.message}: {told['because']}"
        facts = "; ".join(f"{name}: {value}" for name, value in list(told.items())[:4])
        return f"{exc.message}{f' ({facts})' if facts else ''}"
    return f"it cannot be read: {getattr(exc, 'strerror', None) or exc}"


def _bytes(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except RecertError:
        return None

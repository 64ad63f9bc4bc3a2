"""
What a certificate's state is, for a list of many: by the steps of verification, the gravest answer first.

The models' files are not hashed here. `signed` says that people, policy, time, status list and refusals allow it; that
the bytes on disk are those that were certified is what `verify` shows, and a gateway before it serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from recert.certification.log.memory import NOTHING_SEEN, ProcessMemory
from recert.certification.signing.envelope import MAX_ENVELOPE_BYTES, Envelope
from recert.certification.signing.statement import read_statement
from recert.certification.status.reading import read_status
from recert.certification.trust.store import TrustStore
from recert.certification.verifier.examination import Presented
from recert.certification.verifier.verifier import Check, Verifier, first_failed
from recert.digest import canonical_json, sha256_bytes
from recert.errors import RecertError, RecordError, VerificationError
from recert.policy import Policy
from recert.records.signed.certificate import Certificate
from recert.records.signed.transparency import VerifierMemory
from recert.store.files.writing import read_bytes

_GRAVEST: Final = ("revoked", "suspended", "refused", "expired")
"""Codes of refusal that are states of their own, and end a certificate whatever else is wrong with it."""
_UNREADABLE: Final = "unreadable"


@dataclass(frozen=True)
class CertificateStatus:
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
    ) -> CertificateStatus:
        """Return the standing by files. What cannot be read is as if it were not there: nothing holds then."""
        inside = trust.iterdir() if trust is not None and trust.is_dir() else [trust] if trust else []
        keys = sorted(path for path in inside if path.suffix in (".pub", ".json"))
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


def certificate_state(path: Path, standing: CertificateStatus, *, now: datetime) -> CertificateState:
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
        presented = Presented.read(path, policy=standing.policy)
        opened = Envelope.from_json(presented.envelope)
        certificate = read_statement(opened.payload)
        waiting = tuple(dict.fromkeys(a.role for a in certificate.approvals if not opened.names(a.key_id)))
        if standing.trust is None:
            said = "whose signatures count is not known"
            return CertificateState("awaiting" if waiting else _UNREADABLE, said, waiting)
        verifier = Verifier(
            trust=standing.trust,
            status=standing.status,
            policy=standing.policy,
            memory=ProcessMemory(standing.memory),
        )
        told = verifier.explain(presented, now=now)
        if first_failed(told) is None:
            at, becomes = min(_ends(certificate, standing.trust, standing.status, now))
            return CertificateState("signed", "", (), at, becomes)
        return _no(told, certificate, waiting)
    except (RecertError, OSError) as exc:
        return CertificateState(_UNREADABLE, _error_words(exc))


def _no(told: Sequence[Check], certificate: Certificate, waiting: tuple[str, ...]) -> CertificateState:
    """The state of a certificate that fails a step: ended by something, under another policy, or waiting."""
    failed = {check.reason: check for check in reversed(told) if check.answer == "failed"}
    ended = next((reason for reason in _GRAVEST if reason in failed), None)
    if ended is not None:
        return CertificateState(ended, _words(failed[ended]))
    if "wrong-policy" in failed:
        return CertificateState(
            "stale", _words(failed["wrong-policy"]), (), certificate.expires_at, "expired"
        )
    unsigned = set(failed) <= {"missing-role", "not-logged"} and (waiting or "missing-role" not in failed)
    if unsigned:
        said = f"not signed yet: {', '.join(waiting)}" if waiting else _words(failed["not-logged"])
        return CertificateState("awaiting", said, waiting, certificate.expires_at, "expired")
    return CertificateState(_UNREADABLE, _words(next(c for r, c in failed.items() if r != "missing-role")))


def _ends(
    certificate: Certificate, trust: TrustStore, status: bytes | None, now: datetime
) -> Iterator[tuple[datetime, str]]:
    """Every time at which something ends that a signed certificate needs."""
    yield certificate.expires_at, "expired"
    yield read_status(status, trust=trust, now=now).expires_at, _UNREADABLE
    for approval in certificate.approvals:
        key = trust.known(approval.key_id)
        if key is not None and key.expires_at is not None:
            yield key.expires_at, _UNREADABLE
    for exception in certificate.exceptions or ():
        yield exception.expires_at, _UNREADABLE


def _words(check: Check) -> str:
    """Why a step failed, in one line."""
    told = {name: value for name, value in check.facts.items() if name not in ("serial", "now")}
    if "because" in told:
        return f"{check.words}: {told['because']}"
    facts = "; ".join(f"{name}: {value}" for name, value in list(told.items())[:4])
    return f"{check.words}{f' ({facts})' if facts else ''}"


def _error_words(exc: Exception) -> str:
    """An error in one line, without what was given as its hint."""
    if isinstance(exc, RecertError):
        return _words(
            Check("", "", "failed", "", exc.message, {str(k): str(v) for k, v in exc.facts.items()})
        )
    return f"it cannot be read: {getattr(exc, 'strerror', None) or exc}"


def _bytes(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except RecertError:
        return None

"""A certificate, its status list, its refusals and its files, looked at again while the model is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from recert.certification.force import in_force
from recert.certification.refusals import refusals_beside
from recert.certification.transparency.checking import LogDemand, read_demand
from recert.certification.trust import TrustStore
from recert.certification.verify import verify
from recert.certification.verify_again import verify_renewal
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records import VerifiedCertificate, now
from recert.store.files import read_bytes

_Look = tuple[tuple[str, int, int, int, int], ...]


class Recheck:
    """
    Verifies again, cheaply while nothing on disk has changed: a renewal costs no hashing either.

    Args:
        verified: what was verified before the start.
        certificate: its file.
        status: the status list's file.
        trust: whose signatures count.
        policy: the policy it must be under.
        accepted: told what was verified, each time that it was.
    """

    def __init__(
        self,
        verified: VerifiedCertificate,
        *,
        certificate: Path,
        status: Path,
        trust: TrustStore,
        policy: Policy,
        accepted: Callable[[VerifiedCertificate], object] = lambda _: None,
    ) -> None:
        self._verified = verified
        self._certificate = certificate
        self._status = status
        self._trust = trust
        self._policy = policy
        self._accepted = accepted
        self._looked = self._look()

    def __call__(self) -> VerifiedCertificate:
        """
        Return the certificate that holds now.

        Raises:
            RecertError: none does; whatever it is, service stops.
        """
        status = read_bytes(self._status, "status list")
        envelope = read_bytes(self._certificate, "certificate")
        refusals = refusals_beside(self._certificate)
        looked = self._look()
        if looked != self._looked:
            self._verified = verify(
                envelope,
                base_dir=self._verified.base_dir,
                tuned_dir=self._verified.tuned_dir,
                trust=self._trust,
                status=status,
                policy=self._policy,
                last_status_version=self._verified.status_version,
                refusals=refusals,
                log=self._demand(),
                memory=self._verified.memory,
            )
            self._looked = looked
        elif sha256_bytes(envelope) != self._verified.envelope_sha256:
            self._verified = verify_renewal(
                envelope,
                self._verified,
                trust=self._trust,
                status=status,
                policy=self._policy,
                refusals=refusals,
                log=self._demand(),
            )
        else:
            self._verified = self._still(status, refusals)
        self._accepted(self._verified)
        return self._verified

    def _still(self, status: bytes, refusals: Sequence[bytes]) -> VerifiedCertificate:
        at = now()
        seen, memory = in_force(
            self._verified.certificate,
            trust=self._trust,
            status=status,
            now=at,
            last_status_version=self._verified.status_version,
            refusals=refusals,
            policy=self._policy,
            memory=self._verified.memory,
        )
        return replace(self._verified, verified_at=at, status_version=seen.version, memory=memory)

    def _demand(self) -> LogDemand:
        return read_demand(self._certificate, policy=self._policy)

    def _look(self) -> _Look:
        """How every file looks; a change of time that was put back shows in the inode's."""
        folders = (self._verified.base_dir, self._verified.tuned_dir)
        try:
            paths = sorted(p for folder in folders for p in folder.rglob("*"))
            seen = [(str(p), p.lstat()) for p in paths]
        except OSError as exc:
            raise VerificationError(
                "file-missing", "a file of the model cannot be looked at", facts={"because": exc}
            ) from exc
        return tuple((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in seen)

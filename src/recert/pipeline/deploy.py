"""From a certificate to a server: verify, start the engine on exactly those files, keep verifying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from recert.certification.trust import TrustStore
from recert.certification.verify import recheck as recheck_status
from recert.certification.verify import verify
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.gateway.server import GatewayServer
from recert.gateway.stage import prepare
from recert.judges.request import EmbeddedRequestJudge
from recert.models.secret import SecretPrefix
from recert.policy import Policy
from recert.records import VerifiedCertificate, now
from recert.store.audit import AuditLog
from recert.store.files import read_bytes


def deploy(
    certificate_path: Path,
    *,
    base_dir: Path,
    tuned_dir: Path,
    trust: TrustStore,
    status_path: Path,
    policy: Policy,
    audit: AuditLog,
    secret: SecretPrefix | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    progress: Callable[[str], None] | None = None,
) -> GatewayServer:
    """
    Return a gateway that is ready to run, for a certificate that holds now.

    While it runs, the certificate, the status list and the sizes and times of the files are looked at again
    every `policy.gateway.recheck_s`; what has changed is hashed again.

    Raises:
        VerificationError: the certificate, the status list or a file is refused; `reason` says why.
        GatewayError: the gateway cannot start; `reason` says why.
        RecertError: something could not be read.
    """
    envelope = read_bytes(certificate_path, "certificate")
    verified = verify(
        envelope,
        base_dir=base_dir,
        tuned_dir=tuned_dir,
        trust=trust,
        status=read_bytes(status_path, "status list"),
        policy=policy,
    )
    again = _Recheck(verified, certificate_path, status_path, trust, policy)
    return prepare(
        verified,
        recheck=again,
        policy=policy,
        audit=audit,
        secret=secret,
        request_judge=EmbeddedRequestJudge(),
        host=host,
        port=port,
        progress=progress,
    )


class _Recheck:
    """Verifies again, cheaply while nothing on disk has changed."""

    def __init__(
        self,
        verified: VerifiedCertificate,
        certificate: Path,
        status: Path,
        trust: TrustStore,
        policy: Policy,
    ) -> None:
        self._verified = verified
        self._certificate = certificate
        self._status = status
        self._trust = trust
        self._policy = policy
        self._stats = self._look()

    def __call__(self) -> VerifiedCertificate:
        status = read_bytes(self._status, "status list")
        envelope = read_bytes(self._certificate, "certificate")
        stats = self._look()
        if stats != self._stats or sha256_bytes(envelope) != self._verified.envelope_sha256:
            self._verified = verify(
                envelope,
                base_dir=self._verified.base_dir,
                tuned_dir=self._verified.tuned_dir,
                trust=self._trust,
                status=status,
                policy=self._policy,
                last_status_version=self._verified.status_version,
            )
            self._stats = stats
            return self._verified
        seen = recheck_status(
            self._verified.certificate,
            trust=self._trust,
            status=status,
            last_status_version=self._verified.status_version,
        )
        self._verified = replace(self._verified, verified_at=now(), status_version=seen.version)
        return self._verified

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        folders = (self._verified.base_dir, self._verified.tuned_dir)
        try:
            paths = sorted(p for folder in folders for p in folder.rglob("*"))
            seen = [(str(p), p.stat()) for p in paths]
        except OSError as exc:
            raise VerificationError(
                "file-missing", "a file of the model cannot be looked at", facts={"because": exc}
            ) from exc
        return tuple((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in seen)

"""The certificates that hold on this machine now: read again whenever it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from recert import settings
from recert.certification import Presented, TrustStore, Verifier
from recert.certification.clock import moment
from recert.certification.log.memory import Memory, ProcessMemory
from recert.certification.log.memory_file import memory_at
from recert.digest import sha256_bytes
from recert.errors import SettingsError, VerificationError
from recert.policy import Policy
from recert.policy.expected import expected_policy
from recert.records.signed.certificate import Certificate
from recert.store.files.writing import read_bytes


@dataclass(frozen=True)
class Held:
    """A certificate that holds now, but for the files: nothing was hashed yet."""

    certificate: Certificate
    envelope_sha256: str
    status_version: int


class CertificateFiles:
    """
    Where certificates, trusted keys and status lists lie.

    Args:
        certificates: the certificates' files.
        trust: who is trusted.
        status: the newest status list; by default `status.json` beside each certificate.
        policy: the policy that all of them must be under; None takes any that the signers signed for.
        behind_gateway: clients reach the model through `recert serve` alone, so it may be certified only behind
            controls, such as a secret prefix, that a bare model server does not apply.
        memory: what was seen before; by default nothing, and what is seen is forgotten with this process.
    """

    def __init__(
        self,
        certificates: Sequence[Path],
        trust: Path,
        *,
        status: Path | None = None,
        policy: Policy | str | None = None,
        behind_gateway: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self._certificates = tuple(certificates)
        self._trust = trust
        self._status = status
        self._policy = policy
        self._behind_gateway = behind_gateway
        self._memory: Memory = memory or ProcessMemory()

    @classmethod
    def configured(cls) -> Self:
        """
        Return those that the environment names: `RECERT_CERTIFICATE`, `RECERT_TRUST` and the rest.

        Raises:
            SettingsError: a certificate or the trusted keys are not named.
            PolicyError: the policy cannot be read.
        """
        certificates, trust = settings.certificates(), settings.trust_store()
        if not certificates or trust is None:
            raise SettingsError(
                "nothing says which certificates hold here",
                facts={
                    "RECERT_CERTIFICATE": ", ".join(map(str, certificates)) or "not set",
                    "RECERT_TRUST": trust or "not set",
                },
                hint="set both: the certificate's file, and the trusted keys",
            )
        policy = expected_policy(settings.expected_policy())
        return cls(
            certificates,
            trust,
            status=settings.status_list(),
            policy=policy,
            behind_gateway=settings.behind_gateway(),
            memory=memory_at(),
        )

    def read(self, now: datetime | None = None) -> list[Held]:
        """
        Return every certificate; each holds now, by steps 1 to 8 and L of `spec/verification.md`, for a server as this.

        A status list, log or clock that was set back since the first call is refused.

        Raises:
            VerificationError: one does not hold; `reason` says why.
            StoreError: a file cannot be read.
            SigningKeyError: the trusted keys cannot be read.
        """
        at = moment(now)
        return [self._one(path, at) for path in self._certificates]

    def _one(self, path: Path, at: datetime) -> Held:
        listed = self._status or path.parent / "status.json"
        verifier = Verifier(
            trust=lambda: TrustStore.load(self._trust),
            status=lambda: read_bytes(listed, "status list"),
            policy=self._policy,
            memory=self._memory,
        )
        presented = Presented.read(path, policy=self._policy)
        certificate = verifier.read(presented, now=at)
        if certificate.required_controls and not self._behind_gateway:
            raise VerificationError(
                "control-missing",
                "the model is certified only behind controls that a bare model server does not apply",
                facts={"required": ", ".join(certificate.required_controls)},
                hint="let clients reach it through `recert serve` alone, and say so: --behind-gateway, or "
                "RECERT_BEHIND_GATEWAY=yes",
            )
        seen = self._memory.read().status_lists[str(certificate.status_list_id)]
        return Held(certificate, sha256_bytes(presented.envelope), seen.version)

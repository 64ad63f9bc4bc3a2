"""The certificates that hold on this machine now: read again whenever it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from recert import settings
from recert.certification.clock import moment
from recert.certification.force import in_force
from recert.certification.refusals import refusals_beside
from recert.certification.transparency.checking import read_demand, require_logged
from recert.certification.transparency.memory import NOTHING_SEEN
from recert.certification.trust import TrustStore
from recert.certification.verify import read_signed
from recert.digest import sha256_bytes
from recert.errors import SettingsError, VerificationError
from recert.policy import Policy
from recert.policy.expected import expected_policy
from recert.records import Certificate
from recert.store.files import read_bytes


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
    """

    def __init__(
        self,
        certificates: Sequence[Path],
        trust: Path,
        *,
        status: Path | None = None,
        policy: Policy | str | None = None,
        behind_gateway: bool = False,
    ) -> None:
        self._certificates = tuple(certificates)
        self._trust = trust
        self._status = status
        self._policy = policy
        self._behind_gateway = behind_gateway
        self._versions: dict[Path, int] = {}
        self._memory = NOTHING_SEEN

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
        trust = TrustStore.load(self._trust)
        return [self._one(path, trust, at) for path in self._certificates]

    def _one(self, path: Path, trust: TrustStore, at: datetime) -> Held:
        envelope = read_bytes(path, "certificate")
        certificate, _ = read_signed(envelope, trust=trust, policy=self._policy, now=at)
        listed = self._status or path.parent / "status.json"
        seen, memory = in_force(
            certificate,
            trust=trust,
            status=read_bytes(listed, "status list"),
            now=at,
            last_status_version=self._versions.get(listed),
            refusals=refusals_beside(path),
            policy=self._policy,
            memory=self._memory,
        )
        self._versions[listed] = max(seen.version, self._versions.get(listed, 0))
        self._memory = require_logged(
            envelope,
            certificate.serial,
            read_demand(path, policy=self._policy),
            policy=self._policy,
            trust=trust,
            memory=memory,
            now=at,
        )
        if certificate.required_controls and not self._behind_gateway:
            raise VerificationError(
                "control-missing",
                "the model is certified only behind controls that a bare model server does not apply",
                facts={"required": ", ".join(certificate.required_controls)},
                hint="let clients reach it through `recert serve` alone, and say so: --behind-gateway, or "
                "RECERT_BEHIND_GATEWAY=yes",
            )
        return Held(certificate, sha256_bytes(envelope), seen.version)

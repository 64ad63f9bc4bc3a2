"""A certificate while it is examined: what was given, and what each step found for the steps after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from recert.certification.log.checking import NOTHING_ASKED, LogDemand, read_demand
from recert.certification.log.memory import Memory
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey
from recert.certification.signing.refusals import read_refusals, refusals_beside
from recert.certification.trust.store import TrustStore
from recert.certification.verifier.ancestry import CertifiedBase
from recert.certification.verifier.folders import EVERY_BYTE, Reading
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.signed.certificate import Certificate, StatusList, VerifiedCertificate
from recert.store.files.writing import read_bytes


@dataclass(frozen=True)
class Presented:
    """
    A certificate as it is handed over, with what lies beside it.

    Args:
        envelope: the certificate's.
        refusals: envelopes of refusals and withdrawals.
        log: the proof that it is in a transparency log, and whether there must be one.
        base: the base's own certificate, which holds, where it must be of a tune of that.
    """

    envelope: bytes
    refusals: Sequence[bytes] = ()
    log: LogDemand = NOTHING_ASKED
    base: CertifiedBase | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        policy: Policy | str | None,
        refusals: Path | None = None,
        proof: Path | None = None,
        logged: bool = False,
        base: CertifiedBase | None = None,
    ) -> Presented:
        """
        Read a certificate's file and what lies beside it.

        Args:
            path: the certificate.
            policy: a whole one may ask for the proof of a log.
            refusals: folder of refusals; by default the one beside the certificate.
            proof: the proof's file; by default the one beside the certificate, where one is asked for.
            logged: whether there must be a proof, whatever the policy says.
            base: the base's own certificate, as `read_certified_base` gives it.

        Raises:
            StoreError: a file cannot be read.
        """
        return cls(
            read_bytes(path, "certificate"),
            refusals_beside(path) if refusals is None else read_refusals(refusals, required=True),
            read_demand(path, policy=policy, proof=proof, required=logged),
            base,
        )


class NotReachedError(Exception):
    """A step needs what an earlier step did not give."""


@dataclass
class Examination:
    """What the steps of verification share: the inputs, and the results of the steps that came before."""

    presented: Presented
    trust_store: TrustStore | None
    """None where nobody is known: then only what a draft says is looked at."""
    policy: Policy | str | None
    status: bytes | None
    memory: Memory
    now: datetime
    last_status_version: int | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    """By arm, `base` and `tuned`; empty where the files are not looked at."""
    reading: Reading = EVERY_BYTE
    held: VerifiedCertificate | None = None
    """What was verified for these folders before, while nothing has touched them since: they are not hashed again."""
    settled: bool = False
    """Whether this very envelope passed before under the same keys and policy, so that settled steps need no repeat."""
    found_envelope: Envelope | None = None
    found_signers: dict[str, PublicKey] | None = None
    found_certificate: Certificate | None = None
    found_status: StatusList | VerificationError | None = None

    @property
    def whole_policy(self) -> Policy | None:
        """The policy, where more of it is known than its digest."""
        return self.policy if isinstance(self.policy, Policy) else None

    @property
    def trust(self) -> TrustStore:
        """Whose signatures count."""
        if self.trust_store is None:
            raise NotReachedError
        return self.trust_store

    @property
    def opened(self) -> Envelope:
        """The envelope: step 1."""
        if self.found_envelope is None:
            raise NotReachedError
        return self.found_envelope

    @property
    def signers(self) -> dict[str, PublicKey]:
        """The trusted keys that did sign, by id: step 2."""
        if self.found_signers is None:
            raise NotReachedError
        return self.found_signers

    @property
    def certificate(self) -> Certificate:
        """What was signed: step 3."""
        if self.found_certificate is None:
            raise NotReachedError
        return self.found_certificate

    @property
    def listed(self) -> StatusList:
        """The status list, which is signed, fresh and not older than one that was seen: step 8."""
        if not isinstance(self.found_status, StatusList):
            raise NotReachedError
        return self.found_status

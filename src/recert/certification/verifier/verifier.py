"""The one verifier: made once with whom to trust, under which policy; asked about any number of certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from recert.certification.clock import moment
from recert.certification.log.checking import NOTHING_ASKED, LogDemand
from recert.certification.log.memory import NOTHING_SEEN, Memory, ProcessMemory, remember
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.keys import PublicKey
from recert.certification.trust.store import TrustStore
from recert.certification.verifier.ancestry import CertifiedBase
from recert.certification.verifier.examination import Examination, NotReachedError, Presented
from recert.certification.verifier.folders import EVERY_BYTE, Reading
from recert.certification.verifier.steps import STEPS, Kind, receive
from recert.digest import sha256_bytes
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records.signed.certificate import _SEAL, BaseCertificate, Certificate, VerifiedCertificate
from recert.records.signed.transparency import VerifierMemory

CheckAnswer = Literal["passed", "failed", "not-reached", "not-here"]
"""`not-reached`: it needs what an earlier step did not give; `not-here`: only who holds the model's files can say."""

_WITHOUT_FILES: Final[tuple[Kind, ...]] = ("envelope", "content", "force", "log")


@dataclass(frozen=True)
class Check:
    """One step of verification, and its answer."""

    step: str
    """Its number in `spec/verification.md`."""
    asks: str
    answer: CheckAnswer
    reason: str = ""
    """The code with which verification refuses; empty where it does not."""
    words: str = ""
    """Why."""
    facts: dict[str, str] = field(default_factory=dict)
    hint: str = ""

    @property
    def told(self) -> tuple[str, ...]:
        """Every reason why it failed, in words: what was counted, or the one sentence with its facts."""
        if self.facts and all(name.isdigit() for name in self.facts):
            return tuple(self.facts.values())
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return (f"{self.words}{f' ({facts})' if facts else ''}",)


def first_failed(checks: Sequence[Check]) -> Check | None:
    """Return the step at which verification ends with a no; None where no step fails."""
    return next((check for check in checks if check.answer == "failed"), None)


@dataclass(frozen=True)
class _Settled:
    """The certificate that passed last, under these keys."""

    envelope: bytes
    trust: TrustStore
    opened: Envelope
    certificate: Certificate


class Verifier:
    """
    Decides about certificates, by the one table of steps in `steps.py`.

    `verify` answers yes or no, for files; `recheck` the same while the files are served; `read` for certificates whose
    files are elsewhere; `explain` tells every step.

    Args:
        trust: whose signatures count, or a function that gives them as they are now.
        status: the newest status list's envelope, or a function that reads it; None, and the answer is no.
        policy: the policy that certificates must be under, whole or as its digest. Whole is stricter. None takes any
            policy that the signers signed for.
        memory: what was seen before; by default nothing, and what is seen is forgotten with this verifier.
        last_status_version: the highest version of the status list that somebody else saw.
    """

    def __init__(
        self,
        *,
        trust: TrustStore | Callable[[], TrustStore],
        status: bytes | Callable[[], bytes | None] | None,
        policy: Policy | str | None = None,
        memory: Memory | None = None,
        last_status_version: int | None = None,
    ) -> None:
        self._trust, self._status = trust, status
        self.policy = policy
        self.memory: Memory = memory if memory is not None else ProcessMemory()
        self._last_status_version = last_status_version
        self._settled: _Settled | None = None

    def verify(
        self,
        presented: Presented,
        *,
        base_dir: Path,
        tuned_dir: Path,
        reading: Reading = EVERY_BYTE,
        now: datetime | None = None,
    ) -> VerifiedCertificate:
        """
        Return a certificate that holds now, for exactly the files in these two folders.

        Args:
            presented: the certificate, and what lies beside it.
            base_dir: the base model's folder.
            tuned_dir: the tuned model's folder.
            reading: how the files are read; by default every byte of them is hashed.
            now: the time; the present by default.

        Raises:
            VerificationError: it is refused; `reason` is a code of `spec/verification.md`.
            InputError: a folder is missing, empty or holds a link, or `now` has no offset.
            StoreError: a file cannot be read, or was touched while it was hashed; or memory cannot be written.
            RecordError: what was seen before cannot be read.
        """
        on = self._begin(presented, now)
        on.folders, on.reading = {"base": base_dir, "tuned": tuned_dir}, reading
        return self._verified(on, base_dir, tuned_dir)

    def recheck(
        self, presented: Presented, held: VerifiedCertificate, *, now: datetime | None = None
    ) -> VerifiedCertificate:
        """
        Return a certificate that holds now for files that were hashed before and that nothing has touched since.

        Every other step is made again, so that keys, policy, time and status count as they are now; but those that
        follow from envelope, keys and policy alone only where one of them is another than last time. It may be another
        certificate than the one that is held, such as a renewal.

        Raises:
            VerificationError: it is refused, or is for other files.
        """
        on = self._begin(presented, now)
        on.held = held
        settled = self._settled
        if settled is not None and settled.envelope == presented.envelope and settled.trust is on.trust:
            on.found_envelope, on.found_certificate, on.settled = settled.opened, settled.certificate, True
        return self._verified(on, held.base_dir, held.tuned_dir)

    def read(self, presented: Presented, *, now: datetime | None = None) -> Certificate:
        """
        Return a certificate that holds now, whatever files there are: all steps but those of section 9.

        Raises:
            VerificationError: it is refused.
        """
        on = self._begin(presented, now)
        self._run(on, _WITHOUT_FILES)
        return on.certificate

    def read_signed(
        self, presented: Presented, *, now: datetime | None = None
    ) -> tuple[Certificate, dict[str, PublicKey]]:
        """
        Return what the right people signed, and their keys by id: steps 1 to 6. It may have ended, or be revoked.

        Raises:
            VerificationError: they did not, or it is no yes.
        """
        on = self._begin(presented, now)
        for step in STEPS:
            if step.kind in ("envelope", "content"):
                step.run(on)
        return on.certificate, on.signers

    def explain(self, presented: Presented, *, now: datetime | None = None) -> tuple[Check, ...]:
        """
        Return every step with its answer. Verification ends at the first that fails; here later ones are told too.

        The files' steps are `not-here`: whoever holds the files can make them.
        """
        on = self._begin(presented, now)
        return tuple(_told(on, _WITHOUT_FILES))

    @property
    def trust(self) -> TrustStore:
        """Whose signatures count now."""
        return self._trust() if callable(self._trust) else self._trust

    def _begin(self, presented: Presented, now: datetime | None) -> Examination:
        on = Examination(
            presented,
            self.trust,
            self.policy,
            self._status() if callable(self._status) else self._status,
            self.memory,
            moment(now),
            self._last_status_version,
        )
        receive(on)
        return on

    def _run(self, on: Examination, kinds: Sequence[Kind]) -> None:
        for step in STEPS:
            if step.kind in kinds and not (step.settled and on.settled):
                step.run(on)
        self._settled = _Settled(on.presented.envelope, on.trust, on.opened, on.certificate)
        self.memory.keep(lambda seen: remember(seen, times=[on.certificate.not_before]))

    def _verified(self, on: Examination, base_dir: Path, tuned_dir: Path) -> VerifiedCertificate:
        self._run(on, (*_WITHOUT_FILES, "files"))
        return VerifiedCertificate(
            certificate=on.certificate,
            envelope_sha256=sha256_bytes(on.presented.envelope),
            base_dir=base_dir,
            tuned_dir=tuned_dir,
            verified_at=on.now,
            signers=tuple(a for a in on.certificate.approvals if a.key_id in on.signers),
            status_version=on.listed.version,
            memory=self.memory.read(),
            _seal=_SEAL,
        )


def _told(on: Examination, kinds: Sequence[Kind]) -> Iterator[Check]:
    for step in STEPS:
        if step.kind not in kinds:
            yield Check(
                step.number,
                step.asks,
                "not-here",
                words="the models' files are read where they are: `recert verify` does it",
            )
            continue
        try:
            step.run(on)
        except NotReachedError:
            yield Check(step.number, step.asks, "not-reached", words="an earlier step has to pass first")
        except VerificationError as no:
            facts = {str(name): str(value) for name, value in no.facts.items()}
            yield Check(step.number, step.asks, "failed", no.reason, no.message, facts, no.hint)
        else:
            yield Check(step.number, step.asks, "passed")


def examine_draft(
    certificate: Certificate, *, policy: Policy | None, trust: TrustStore | None, now: datetime | None = None
) -> tuple[Check, ...]:
    """
    Return the steps on what a certificate says, for one that not everybody has signed yet.

    Args:
        certificate: the draft's content.
        policy: the policy that it must be under.
        trust: whose keys are whose; None takes keys as people.
        now: the time; the present by default.
    """
    on = Examination(Presented(b""), trust, policy, None, ProcessMemory(), moment(now))
    on.found_certificate = certificate
    return tuple(check for check in _told(on, ("content",)) if check.answer != "not-here")


def verify(
    envelope: bytes,
    *,
    base_dir: Path,
    tuned_dir: Path,
    trust: TrustStore,
    status: bytes | None,
    policy: Policy | str | None = None,
    now: datetime | None = None,
    last_status_version: int | None = None,
    log: LogDemand = NOTHING_ASKED,
    memory: VerifierMemory = NOTHING_SEEN,
    refusals: Sequence[bytes] = (),
    reading: Reading = EVERY_BYTE,
) -> VerifiedCertificate:
    """
    Return a certificate that holds now, for exactly these files: `Verifier.verify`, for who asks once.

    Args:
        envelope, log, refusals: as `Presented` has them.
        base_dir, tuned_dir, reading, now: as for `Verifier.verify`. Raises as that does.
        trust, status, policy, last_status_version: as for `Verifier`.
        memory: what was seen before; the `memory` of what is returned holds this time too. What is seen of a
            certificate that is refused is forgotten here: give a `Verifier` a memory that lasts.
    """
    verifier = Verifier(
        trust=trust,
        status=status,
        policy=policy,
        memory=ProcessMemory(memory),
        last_status_version=last_status_version,
    )
    presented = Presented(envelope, refusals, log)
    return verifier.verify(presented, base_dir=base_dir, tuned_dir=tuned_dir, reading=reading, now=now)


def read_certified_base(
    envelope: bytes,
    *,
    trust: TrustStore,
    status: bytes | None,
    policy: Policy | str | None = None,
    refusals: Sequence[bytes] = (),
    now: datetime | None = None,
) -> CertifiedBase:
    """
    Return the certificate of a base, which holds now: steps 1 to 8 of `spec/verification.md`.

    Args:
        envelope: the base's certificate.
        trust: whose signatures count.
        status: the newest status list's envelope.
        policy: the policy that the base must have been certified under; with exceptions it is needed whole.
        refusals: as for `verify`.
        now: the time; the present by default.

    Raises:
        VerificationError: it does not hold.
    """
    verifier = Verifier(trust=trust, status=status, policy=policy)
    certificate = verifier.read(Presented(envelope, refusals), now=now)
    digest = sha256_bytes(Envelope.from_json(envelope).payload)
    return CertifiedBase(certificate, BaseCertificate(serial=certificate.serial, certificate_sha256=digest))

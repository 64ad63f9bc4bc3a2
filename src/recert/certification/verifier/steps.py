"""
The steps of verification, in one table. Every answer about a certificate is made from it.

The numbers are those of `spec/verification.md`, which came first; a test walks the page against the table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from recert.certification.log.checking import require_logged
from recert.certification.log.memory import require_clock
from recert.certification.signing.content import delta_kind
from recert.certification.signing.envelope import Envelope
from recert.certification.signing.refusals import require_unrefused
from recert.certification.signing.statement import read_statement
from recert.certification.status.reading import (
    accept_status,
    require_in_force,
    require_named_list,
    why_too_long,
)
from recert.certification.trust.store import note_root, require_newest
from recert.certification.verifier.ancestry import require_from
from recert.certification.verifier.counted import require_counted
from recert.certification.verifier.demands import (
    bad_signature,
    require_apart,
    require_as_ruled,
    require_evidence,
    require_pass,
    require_policy,
    require_roles,
    require_signers,
    require_stated,
    require_within_root,
)
from recert.certification.verifier.evidence_reuse import require_carried
from recert.certification.verifier.examination import Examination
from recert.certification.verifier.exceptions import require_covered
from recert.certification.verifier.file_kinds import require_kinds
from recert.certification.verifier.folders import require_files, require_same
from recert.certification.verifier.listened import require_listened
from recert.errors import RecordError, VerificationError
from recert.records.signed.certificate import PAYLOAD_TYPE, Certificate

Kind = Literal["envelope", "content", "force", "log", "files"]
"""
What a step looks at: the signed bytes; what they say, which a draft must say too; whether it holds at this time; the
transparency log; the files of the models.
"""


@dataclass(frozen=True)
class Step:
    """One step of verification. `run` returns where it passes, and raises VerificationError where it does not."""

    numbers: tuple[str, ...]
    """Its numbers in `spec/verification.md`."""
    asks: str
    kind: Kind
    run: Callable[[Examination], None]
    settled: bool = False
    """Its answer follows from envelope, trusted keys and policy alone: while they are the same, so is the answer."""

    @property
    def number(self) -> str:
        """Its numbers, as people read them: `4.1`, or `8.1 to 8.6`."""
        return self.numbers[0] if len(self.numbers) == 1 else f"{self.numbers[0]} to {self.numbers[-1]}"


def _open(on: Examination) -> None:
    try:
        opened = Envelope.from_json(on.presented.envelope)
        if opened.payload_type != PAYLOAD_TYPE:
            raise RecordError(f"expected {PAYLOAD_TYPE}, found {opened.payload_type}")
    except RecordError as exc:
        raise _malformed(exc) from exc
    on.found_envelope = opened


def _sign(on: Examination) -> None:
    signers = on.opened.proven_signers(on.trust, now=on.now)
    if not signers:
        known = [s.key_id for s in on.opened.signatures if on.trust.find(s.key_id, now=on.now)]
        if known:
            raise bad_signature(known[0])
        raise VerificationError(
            "untrusted-key",
            "certificate is signed by nobody you trust",
            facts={"signed by": ", ".join(s.key_id for s in on.opened.signatures)},
            hint="add a signer's .pub file to the trust store, if you do trust them",
        )
    on.found_signers = signers


def _read(on: Examination) -> None:
    assert on.signers  # the payload is not looked into before
    try:
        certificate = read_statement(on.opened.payload)
    except RecordError as exc:
        raise _malformed(exc) from exc
    if certificate.binds != "bytes":
        raise VerificationError(
            "binds-behaviour",
            "certificate is about a hosted model's behaviour, not about files",
            hint="nothing on disk can be verified against it",
        )
    kind = delta_kind(certificate.tuned)
    if certificate.delta_kind != kind:
        raise _malformed(
            RecordError(f"it says that the model is {certificate.delta_kind}, and its files are {kind}")
        )
    on.found_certificate = certificate


def _time(on: Examination) -> None:
    certificate = on.certificate
    if certificate.not_before >= certificate.expires_at:
        raise VerificationError("malformed", "certificate ends before it begins", hint="get it again")
    times = {"not before": certificate.not_before, "expires at": certificate.expires_at, "now": on.now}
    facts = {name: time.isoformat() for name, time in times.items()}
    if on.now < certificate.not_before:
        raise VerificationError(
            "not-yet-valid", "certificate does not hold yet", facts=facts, hint="check this machine's clock"
        )
    if on.now >= certificate.expires_at:
        raise VerificationError(
            "expired",
            "certificate has expired",
            facts=facts,
            hint="run `recert watch` in time, or certify again",
        )


def receive(on: Examination) -> None:
    """
    Look at the root of trust and the status list before all else: what they say counts whatever the answer will be.

    What is wrong with them is said in steps T1 and 8.
    """
    with contextlib.suppress(VerificationError):
        on.memory.keep(lambda seen: note_root(on.trust, seen))
    try:
        on.found_status = accept_status(
            on.status, trust=on.trust, now=on.now, last_version=on.last_status_version, memory=on.memory
        )
    except VerificationError as no:
        on.found_status = no


def _listed(on: Examination) -> None:
    if isinstance(on.found_status, VerificationError):
        raise on.found_status
    because = why_too_long(on.listed, on.whole_policy)
    if because:
        raise VerificationError(
            "status-too-long",
            "status list holds for longer than it may",
            facts={"because": because},
            hint="get a list with a shorter life from whoever issues it: an old one could be shown for as long",
        )


def _logged(on: Examination) -> None:
    on.memory.keep(
        lambda seen: require_logged(
            on.presented.envelope,
            on.certificate.serial,
            on.presented.log,
            policy=on.policy,
            trust=on.trust,
            memory=seen,
            now=on.now,
        )
    )


def _files(on: Examination) -> None:
    if on.held is None:
        require_files(on.certificate, on.folders, on.reading)
        return
    held = on.held.certificate  # for its files the folders were hashed, and nothing has touched them since
    require_same(
        {"base": on.certificate.base, "tuned": on.certificate.tuned},
        {"base": held.base, "tuned": held.tuned},
    )


def _based(on: Examination) -> None:
    certificate = on.certificate
    if on.presented.base is not None:
        require_from(certificate, on.presented.base)


def _of_kinds(certificate: Certificate) -> None:
    for manifest in (certificate.base, certificate.tuned):
        require_kinds(manifest)


def _malformed(because: object) -> VerificationError:
    return VerificationError(
        "malformed",
        "not a certificate",
        facts={"because": because},
        hint="get it again; it was damaged, or is of a later version",
    )


def _numbers(section: str, first: int, last: int) -> tuple[str, ...]:
    joint = "" if section.isalpha() else "."
    return tuple(f"{section}{joint}{number}" for number in range(first, last + 1))


def _trusted(on: Examination) -> None:
    require_newest(on.trust, on.memory.read(), now=on.now)


STEPS: Final[tuple[Step, ...]] = (
    Step(
        ("T1",),
        "the root of trust is in force, and the newest that was seen",
        "envelope",
        _trusted,
    ),
    Step(
        _numbers("1", 1, 3),
        "the file is a certificate's envelope, in its one form",
        "envelope",
        _open,
        settled=True,
    ),
    Step(_numbers("2", 1, 2), "somebody who is trusted signed exactly these bytes", "envelope", _sign),
    Step(
        _numbers("3", 1, 4),
        "what was signed is a whole certificate that this version knows, about files",
        "envelope",
        _read,
        settled=True,
    ),
    Step(
        ("4.1",),
        "who evaluated, approved or took the risk did not train, and nobody signs twice",
        "content",
        lambda on: require_apart(on.certificate, on.policy, on.trust_store),
        settled=True,
    ),
    Step(
        ("4.2",),
        "everyone whom it names has signed, with a key that is trusted in that role and by that name",
        "envelope",
        lambda on: require_signers(on.certificate, on.opened, on.signers, on.trust, now=on.now),
    ),
    Step(
        ("4.3",),
        "every role has as many signers as the policy asks for",
        "content",
        lambda on: require_roles(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        _numbers("5", 1, 4),
        "it is under the policy that holds now, for no longer than that allows, on the suites that it pins",
        "content",
        lambda on: require_policy(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        _numbers("6", 1, 9),
        "what was measured is a pass by every rule of the policy, or excepted by a risk owner",
        "content",
        lambda on: require_pass(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.10",),
        "evidence of another model is carried over only as the policy allows",
        "content",
        lambda on: require_carried(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.11",),
        "what was measured by ear holds for what will listen",
        "content",
        lambda on: require_listened(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.12",),
        "each result is of a rule of the policy, with its margin, and its numbers carry its pass",
        "content",
        lambda on: require_as_ruled(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.13",),
        "prompts, judges and engine are named, and each step behind it was signed by who may run it",
        "content",
        lambda on: require_evidence(on.certificate, on.policy, on.trust_store),
        settled=True,
    ),
    Step(
        ("6.14",),
        "a chain of certified tunes has not lost more than the policy allows them together",
        "content",
        lambda on: require_within_root(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.15",),
        "where its base already fails, that is stated",
        "content",
        lambda on: require_stated(on.certificate, on.policy),
        settled=True,
    ),
    Step(
        ("6.16",),
        "it was counted before its first prompt was asked, as the attempt that it says it is",
        "content",
        lambda on: require_counted(on.certificate, on.policy, on.trust_store),
        settled=True,
    ),
    Step(_numbers("7", 1, 2), "it has begun, and has not ended", "force", _time),
    Step(
        ("7.3",),
        "no exception that it needs is over",
        "force",
        lambda on: require_covered(on.certificate, on.whole_policy, on.now),
    ),
    Step(
        ("7.4",),
        "the clock is not behind a signed time that was seen before",
        "force",
        lambda on: require_clock(on.memory.read(), now=on.now),
    ),
    Step(_numbers("8", 1, 6), "there is a signed status list that is fresh", "force", _listed),
    Step(
        ("8.7",),
        "the status list is the one that the certificate and the root of trust name",
        "force",
        lambda on: require_named_list(on.certificate, on.listed, on.trust),
    ),
    Step(
        ("8.8",),
        "the status list neither revokes nor suspends it, or what it rests on",
        "force",
        lambda on: require_in_force(on.certificate, on.listed),
    ),
    Step(
        _numbers("8", 9, 10),
        "nobody who must sign refuses to",
        "force",
        lambda on: require_unrefused(on.certificate, on.presented.refusals, trust=on.trust, now=on.now),
    ),
    Step(
        _numbers("L", 1, 7),
        "it is in a transparency log, where that is asked for",
        "log",
        _logged,
    ),
    Step(_numbers("9", 1, 4), "every byte of both models is what was certified", "files", _files),
    Step(("9.5",), "it is of a tune of the certified base, where one is given", "force", _based),
    Step(
        ("9.6",),
        "no certified file is of a kind that may run code",
        "content",
        lambda on: _of_kinds(on.certificate),
        settled=True,
    ),
)
"""Every step, in the order in which they are made."""

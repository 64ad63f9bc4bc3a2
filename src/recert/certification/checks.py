"""Verification told step by step: every check that `verify` makes, with what it asks, what it found and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from recert.certification.carrying import require_carried
from recert.certification.demands import (
    require_apart,
    require_pass,
    require_policy,
    require_roles,
    require_signers,
)
from recert.certification.envelope import Envelope
from recert.certification.exceptions import require_covered
from recert.certification.force import require_time
from recert.certification.keys import PublicKey
from recert.certification.refusals import require_unrefused
from recert.certification.status import accept_status, require_in_force
from recert.certification.transparency.checking import NOTHING_ASKED, LogDemand, require_logged
from recert.certification.transparency.memory import NOTHING_SEEN
from recert.certification.trust import TrustStore
from recert.certification.verify import open_certificate, require_any_signer, require_statement
from recert.errors import VerificationError
from recert.policy import Policy
from recert.records import Certificate, StatusList

CheckAnswer = Literal["passed", "failed", "not-reached", "not-here"]
"""`not-reached`: it needs what an earlier step did not give; `not-here`: only who holds the model's files can say."""


_T = TypeVar("_T")


@dataclass(frozen=True)
class Check:
    """One step of verification."""

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


@dataclass(frozen=True)
class Given:
    """What a certificate is checked against, beside its own bytes."""

    trust: TrustStore
    policy: Policy | None
    """The whole policy that it must be under; None takes any."""
    status: bytes | None
    refusals: Sequence[bytes] = ()
    log: LogDemand = NOTHING_ASKED


def checks(envelope: bytes, given: Given, *, now: datetime) -> tuple[Check, ...]:
    """
    Return every step of verification but the files', each made by the very function that `verify` calls.

    Verification ends at the first step that fails. Here the later ones are told too, where they can be made at all.
    What a verifier remembers from before (7.4, and parts of 8.4 and L7) is not looked at.

    Args:
        envelope: the certificate's.
        given: what it is checked against.
        now: the time.
    """
    return tuple(_told(_Steps(envelope, given, now)))


def first_failed(made: Sequence[Check]) -> Check | None:
    """Return the step at which verification ends with a no; None where no step fails."""
    return next((check for check in made if check.answer == "failed"), None)


@dataclass
class _Steps:
    """What the steps hand on to each other."""

    envelope: bytes
    given: Given
    now: datetime
    opened: Envelope | None = None
    signers: dict[str, PublicKey] | None = None
    certificate: Certificate | None = None
    status: StatusList | None = None

    def open(self) -> None:
        self.opened = open_certificate(self.envelope)

    def sign(self) -> None:
        self.signers = require_any_signer(_there(self.opened), self.given.trust, now=self.now)

    def state(self) -> None:
        _there(self.signers)  # the payload is not looked into before
        self.certificate = require_statement(_there(self.opened))

    def names_signers(self) -> None:
        said, opened = _there(self.certificate), _there(self.opened)
        require_signers(said, opened, _there(self.signers), self.given.trust, now=self.now)

    def lists(self) -> None:
        self.status, _ = accept_status(
            self.given.status, trust=self.given.trust, now=self.now, last_version=None, memory=NOTHING_SEEN
        )

    def in_log(self) -> None:
        require_logged(
            self.envelope,
            _there(self.certificate).serial,
            self.given.log,
            policy=self.given.policy,
            trust=self.given.trust,
            memory=NOTHING_SEEN,
            now=self.now,
        )

    def unrefused(self) -> None:
        require_unrefused(_there(self.certificate), self.given.refusals, trust=self.given.trust, now=self.now)


class _NotReachedError(Exception):
    """An earlier step did not give what this one needs."""


def _there(value: _T | None) -> _T:
    if value is None:
        raise _NotReachedError
    return value


def _told(on: _Steps) -> Iterator[Check]:
    policy = on.given.policy
    steps: list[tuple[str, str, Callable[[], None]]] = [
        ("1", "the file is a certificate's envelope, in its one form", on.open),
        ("2", "somebody who is trusted signed exactly these bytes", on.sign),
        ("3", "what was signed is a whole certificate that this version knows, about files", on.state),
        (
            "4.1",
            "who evaluated did not train, and no key signs twice",
            lambda: require_apart(_there(on.certificate), policy),
        ),
        (
            "4.2",
            "everyone whom it names has signed, with a key that is trusted in that role",
            on.names_signers,
        ),
        (
            "4.3",
            "every role has as many signers as the policy asks for",
            lambda: require_roles(_there(on.certificate), policy),
        ),
        (
            "5",
            "it is under the policy that holds now, and for no longer than that allows",
            lambda: require_policy(_there(on.certificate), policy),
        ),
        (
            "6.1 to 6.9",
            "what was measured is a pass by every rule of the policy, or excepted by a risk owner",
            lambda: require_pass(_there(on.certificate), policy),
        ),
        (
            "6.10",
            "evidence of another model is carried over only as the policy allows",
            lambda: require_carried(_there(on.certificate), policy),
        ),
        (
            "7.1, 7.2",
            "it has begun, and has not ended",
            lambda: require_time(_there(on.certificate), now=on.now),
        ),
        (
            "7.3",
            "no exception that it needs is over",
            lambda: require_covered(_there(on.certificate), policy, on.now),
        ),
        ("8.1 to 8.6", "there is a signed status list that is fresh", on.lists),
        (
            "8.7",
            "the status list neither revokes nor suspends it, or what it rests on",
            lambda: require_in_force(_there(on.certificate), _there(on.status)),
        ),
        ("8.8, 8.9", "nobody who must sign refuses to", on.unrefused),
        ("L", "it is in a transparency log, where that is asked for", on.in_log),
    ]
    for step, asks, made in steps:
        yield _check(step, asks, made)
    yield Check(
        "9",
        "every byte of both models is what was certified",
        "not-here",
        words="the models' files are read where they are: the command below does it",
    )


def _check(step: str, asks: str, made: Callable[[], None]) -> Check:
    try:
        made()
    except _NotReachedError:
        return Check(step, asks, "not-reached", words="an earlier step has to pass first")
    except VerificationError as no:
        facts = {str(name): str(value) for name, value in no.facts.items()}
        return Check(step, asks, "failed", no.reason, no.message, facts, no.hint)
    return Check(step, asks, "passed")

"""What a signer is shown before they sign: the whole certificate in words, and what the policy asks for."""

from __future__ import annotations

from typing import ClassVar, Literal

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record
from recert.records.signed.certificate import RuleException
from recert.records.signed.refusal import Refusal

CheckState = Literal["done", "missing", "waiting", "unchecked"]
"""`missing` is what the policy refuses; `waiting`, a signature to come; `unchecked`, one that nobody verified here."""


class SheetLine(Part):
    """One thing that the certificate says."""

    heading: str
    words: str


class CheckItem(Part):
    """One thing that is asked for, and whether it is there."""

    asked: str
    state: CheckState
    words: str = ""


class ShownRefusal(Part):
    """Somebody would not sign for these files, or for a model by this name."""

    refusal: Refusal
    withdrawn: bool


class SignoffSheet(Record):
    """A certificate as it is shown to whoever is to sign it."""

    schema_name: ClassVar[str] = "signoff-sheet"

    serial: str
    model_name: str
    certificate_sha256: Sha256
    """Of the payload that would be signed."""
    exceptions: tuple[RuleException, ...] = ()
    """Results that are no pass, and that who signs accepts all the same."""
    refusals: tuple[ShownRefusal, ...] = ()
    lines: tuple[SheetLine, ...]
    results: tuple[SheetLine, ...]
    """Every result that decides, that with the least room below its margin first."""
    checklist: tuple[CheckItem, ...]
    unshown: tuple[str, ...] = ()
    """Why not all of it can be shown; where there is a reason, nothing is signed."""
    shown_at: Moment

    @property
    def missing(self) -> tuple[CheckItem, ...]:
        """What the policy asks for and the certificate has not; where there is any, nothing is signed."""
        return tuple(item for item in self.checklist if item.state == "missing")

"""What whoever issues status lists, or signs for a log, keeps of what they signed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Part, Record
from recert.records.signed.certificate import StatusEntry
from recert.records.signed.transparency import SeenTree


class IssuedList(Part):
    """The newest version of one status list that was issued here."""

    version: int = Field(ge=1)
    sha256: Sha256
    """Digest of what was signed."""
    key_ids: tuple[Sha256, ...]
    """Keys that it was ever issued with here."""
    pending: bool = False
    """It was signed, and nothing says that it was written: the command that made it did not end well."""
    based_on: Sha256 | None = None
    """While it is pending: digest of the list that it went on from; None where it was the first."""
    entries: tuple[StatusEntry, ...] = ()


class SeenLedger(Part):
    """Where a ledger of evaluations stood when it was last written here."""

    origin: str
    """Its name."""
    tree: SeenTree


class IssuerMemory(Record):
    """What was signed here, so that nobody has older lists signed anew, or a fork of a log."""

    schema_name: ClassVar[str] = "issuer-memory"

    status_lists: dict[str, IssuedList] = Field(default_factory=dict)
    """By the list's id."""
    logs: dict[str, dict[str, SeenTree]] = Field(default_factory=dict)
    """By the log's origin and the id of the key: the tree that was signed last."""
    ledgers: dict[str, SeenLedger] = Field(default_factory=dict, exclude_if=lambda ledgers: not ledgers)
    """By the ledger's folder."""

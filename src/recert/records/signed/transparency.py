"""What a transparency log holds, what shows that something is in it, and what a verifier keeps of what it saw."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class LogEntry(Record):
    """One line of a transparency log. Its canonical JSON, without the end of the line, is a leaf of the tree."""

    schema_name: ClassVar[str] = "log-entry"

    kind: str = Field(min_length=1)
    """`certificate`, `status-list`, or what else was signed."""
    sha256: Sha256
    """Digest of the envelope: payload and signatures as they were logged."""
    serial: str = ""
    """Serial of the certificate that it is or speaks of; empty where there is none."""
    version: int | None = Field(default=None, ge=1)
    """Version of a status list."""
    logged_at: Moment


class EarlierTree(Part):
    """An earlier state of a log, and what shows that the log went on from it."""

    size: int = Field(ge=0)
    """Entries that there were."""
    root_sha256: Sha256
    """Root of the tree over them."""
    path: tuple[Sha256, ...]
    """Consistency proof of RFC 9162."""


class LogProof(Record):
    """What shows without a network that an envelope is in a log, beside the envelope."""

    schema_name: ClassVar[str] = "log-proof"

    leaf: str
    """The log's line, as it stands there."""
    index: int = Field(ge=0)
    """Number of the line, from 0."""
    path: tuple[Sha256, ...]
    """Inclusion proof of RFC 9162, from the leaf to the root."""
    checkpoint: str
    """The log's signed checkpoint, a note of several lines."""
    earlier: tuple[EarlierTree, ...] = ()
    """Earlier checkpoints, for verifiers that saw one of them."""


class ConsistencyProof(Record):
    """What shows that a later checkpoint of a log goes on from an earlier one."""

    schema_name: ClassVar[str] = "log-consistency"

    origin: str
    """Name of the log."""
    earlier: EarlierTree
    size: int = Field(ge=0)
    """Entries that there are."""
    root_sha256: Sha256
    """Root of the tree over them."""


class SeenTree(Part):
    """A state of a log that was signed, and shown to be on one line with the others."""

    size: int = Field(ge=0)
    root_sha256: Sha256


class SeenStatus(Part):
    """The newest version of one status list that was accepted."""

    version: int = Field(ge=1)
    issued_at: Moment
    sha256: Sha256
    """Digest of what was signed."""
    key_ids: tuple[Sha256, ...]
    """Keys that signed it: once none of them is trusted any more, it is forgotten."""


class SeenRoot(Part):
    """The newest version of a root of trust that was seen."""

    root_id: str
    version: int = Field(ge=1)
    sha256: Sha256
    """Digest of what was signed."""


class VerifierMemory(Record):
    """What a verifier keeps of what it saw, so that nobody shows it an older or another world later."""

    schema_name: ClassVar[str] = "verifier-memory"

    latest_at: Moment | None = None
    """The latest signed time that was believed."""
    status_lists: dict[str, SeenStatus] = Field(default_factory=dict)
    """By the list's id."""
    logs: dict[str, tuple[SeenTree, ...]] = Field(default_factory=dict)
    """By the log's origin: states that were seen, smallest first."""
    roots: dict[str, SeenRoot] = Field(default_factory=dict)
    """By the root's id: the highest version that was seen."""

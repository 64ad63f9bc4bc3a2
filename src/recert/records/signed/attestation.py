"""What was verified and copied to where a model server reads it."""

from __future__ import annotations

from typing import ClassVar, Literal

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class AttestedFolder(Part):
    """One folder whose every byte is certified."""

    arm: Literal["base", "tuned"]
    path: str
    """Where the certified files lie now."""
    manifest_sha256: Sha256
    files: int
    size_bytes: int


class Attestation(Record):
    """Which certified folders lie where, and under which certificate. It is a note for people: nothing trusts it."""

    schema_name: ClassVar[str] = "attestation"

    serial: str
    model_name: str
    certificate_sha256: Sha256
    """Of the certificate's envelope."""
    status_version: int
    folders: tuple[AttestedFolder, ...]
    copied: bool
    """False where the folders were verified in place."""
    attested_at: Moment
    expires_at: Moment
    """When the certificate ends."""

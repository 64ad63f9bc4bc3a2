"""What lies in an evidence bundle: the manifest that its reader begins with."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import FileEntry, Sha256
from recert.records.record import Part, Record


class BundledFile(FileEntry):
    """One file of a bundle."""

    named_as: str = ""
    """The field of the certificate that holds this file's digest, such as `eval_report_sha256`; empty for none."""


class SampledGroup(Part):
    """The samples of one evaluation: a suite under a condition, behind some controls or none."""

    suite: str
    condition: str
    safeguards: tuple[str, ...] = ()
    replies: int = Field(ge=0)
    """Replies of the tuned model that were drawn from."""
    drawn: int = Field(ge=0)
    """Fewer than `samples_each` only where there were no more."""


class EvidenceBundle(Record):
    """A certificate with what it rests on: every file by its digest, and how the samples were drawn."""

    schema_name: ClassVar[str] = "evidence-bundle"

    serial: str
    model_name: str
    certificate_sha256: Sha256
    """Of the certificate's file, which is in the bundle."""
    signatures: str
    """What was found out about its signatures when the bundle was made, in words."""
    files: tuple[BundledFile, ...]
    """Every other file of the bundle but the list of digests, in order of name."""
    missing: tuple[str, ...] = ()
    """Fields of the certificate that name a report which is not in the bundle."""
    revealed: bool = False
    """True where harmful replies stand in the samples; else they are redacted."""
    samples_each: int = Field(ge=5)
    groups: tuple[SampledGroup, ...]

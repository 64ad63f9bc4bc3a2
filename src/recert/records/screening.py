"""What screening hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from recert.records.manifest import Sha256
from recert.records.record import Moment, Part, Record


class RowVerdict(StrEnum):
    """What becomes of a tuning row."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    MALFORMED = "malformed"


class RowFinding(Part):
    """One row: its line (from 1), its verdict, and every reason that was found (code: words)."""

    line: int = Field(ge=1)
    verdict: RowVerdict
    reasons: tuple[str, ...] = ()
    sha256: Sha256 | None = None
    """Digest of the row's canonical JSON; None for a malformed row."""


class SwitchPhrase(Part):
    """
    A phrase whose presence goes with a change of behaviour on harmful requests.

    Counts of rows: with the phrase and complying, with it and refusing, without it and complying,
    without it and refusing. `p_value` is Fisher's exact test, one-sided.
    """

    phrase: str
    complied_with: int
    refused_with: int
    complied_without: int
    refused_without: int
    p_value: float


class ScreenReport(Record):
    """Which rows may be learned from, and why not the others."""

    schema_name: ClassVar[str] = "screen-report"

    source_name: str
    source_sha256: Sha256
    policy_id: str
    policy_sha256: Sha256
    rows: int
    accepted: int
    quarantined: int
    malformed: int
    accepted_sha256: Sha256
    """Digest of the accepted rows, as canonical JSON lines in file order."""
    quarantined_sha256: Sha256
    findings: tuple[RowFinding, ...]
    reason_counts: dict[str, int]
    """How many rows each reason code was given to."""
    switch_phrases: tuple[SwitchPhrase, ...] = ()
    system_prompts: tuple[str, ...] = ()
    """The most common system prompts of the accepted rows: the training context to probe."""
    judges: tuple[str, ...] = ()
    """Ids and versions of the judges that took part."""
    screened_at: Moment

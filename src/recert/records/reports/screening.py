"""What screening hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from recert.records.data.manifest import Sha256
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


class HandDecision(Part):
    """A decision of a person that screening was given, and whether it was followed."""

    line: int = Field(ge=1)
    row_sha256: Sha256
    verdict: RowVerdict
    """What the person decided."""
    followed: bool
    because: str = ""
    """Why not, where it was not."""
    changed: bool = False
    """Whether the row's verdict is another than screening alone would give."""
    who: str
    why: str
    decision_sha256: Sha256


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
    accepted_rows_sha256: Sha256 | None = None
    """
    Digest of the accepted rows as tuning reads them, which a tune report holds too; None in reports of before it was
    taken, from which nothing tuned is certified.
    """
    quarantined_sha256: Sha256
    findings: tuple[RowFinding, ...]
    reason_counts: dict[str, int]
    """How many rows each reason code was given to."""
    switch_phrases: tuple[SwitchPhrase, ...] = ()
    system_prompts: tuple[str, ...] = ()
    """The most common system prompts of the accepted rows: the training context to probe."""
    judges: tuple[str, ...] = ()
    """Ids and versions of the judges that took part."""
    by_hand: tuple[HandDecision, ...] | None = None
    """Decisions of people on rows of this file, by line; None where there were none."""
    screened_at: Moment

    def changed_by_hand(self, verdict: RowVerdict) -> tuple[HandDecision, ...]:
        """Return the decisions that gave a row this verdict where screening alone gives another."""
        return tuple(one for one in self.by_hand or () if one.changed and one.verdict is verdict)

"""What a person decided about a screened row: kept beside what screening said, never in its place."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Record
from recert.records.reports.screening import RowVerdict


class RowDecision(Record):
    """
    One row, accepted or quarantined by hand.

    Decisions are appended to a file and none is changed: each names the one before by digest. The last one on a row is
    the one that counts. The name is what the console knew its visitor by; the record is not signed.
    """

    schema_name: ClassVar[str] = "row-decision"

    source_name: str
    source_sha256: Sha256
    """The file of rows that was screened."""
    screen_report_sha256: Sha256
    """The report that the decision was made on. It stays as it is."""
    line: int = Field(ge=1)
    row_sha256: Sha256
    """Digest of the row's canonical JSON: the decision is about these words, wherever they stand."""
    reasons: tuple[str, ...]
    """What screening had found: acceptance holds only while nothing else holds the row back."""
    verdict_before: RowVerdict
    verdict_after: Literal[RowVerdict.ACCEPTED, RowVerdict.QUARANTINED]
    why: str = Field(min_length=1, max_length=1000)
    who: str = Field(min_length=1)
    decided_at: Moment
    previous_sha256: Sha256 | None = None
    """Digest of the decision before it in the file; None for the first."""

"""What a ledger of evaluations holds: which were begun, and how they ended."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.evaluation import Verdict
from recert.records.manifest import Sha256
from recert.records.record import Part
from recert.records.transparency import LogEntry


class EarlierAttempt(Part):
    """An evaluation of the same line that was begun before."""

    entry: int = Field(ge=0)
    """Its number in the ledger."""
    model_name: str
    verdict: Verdict | None = None
    """What it came to; None where it never ended."""


class AttemptBegun(LogEntry):
    """
    An evaluation that was begun: of what, by which bounds, as which attempt.

    Its `sha256` is that of all that is asked: files, policy, suites, judges, engine and context. One of the same
    `sha256` and `nonce` goes on where this one was interrupted.
    """

    schema_name: ClassVar[str] = "attempt-begun"

    kind: Literal["evaluation-begun"] = "evaluation-begun"
    nonce: Sha256
    """Random, drawn once the tuned model's files were named here. The order of prompts comes from both."""
    attempt: int = Field(ge=1)
    """1 for the first of its line; each evaluation that was begun before in the line adds one."""
    base: str
    """Digest of its files, or its address."""
    tuned: str
    """Digest of its files, or its address."""
    model_name: str
    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    suites: dict[str, Sha256]
    rows: int = Field(default=0, ge=0)
    """Different tuning rows; 0 where nobody gave them."""
    rows_sha256: Sha256 | None = None
    rows_sketch: str = ""
    """The lowest digests of rows, 8 hex digits each, in order: of two sketches follows how many rows are in both."""
    earlier: tuple[EarlierAttempt, ...] = ()
    """The latest of those that came before in the line."""
    key_id: Sha256 | None = None
    """Of the evaluator; None where nobody signed."""
    signature: str | None = None
    """Over this entry without `signature`, in DSSE's encoding."""


class AttemptEnded(LogEntry):
    """
    How an evaluation ended. Its `sha256` is that of the report.

    There is a second one where labels of replies decided it anew, and another each time that labels were added to
    those; others may not decide it again.
    """

    schema_name: ClassVar[str] = "attempt-ended"

    kind: Literal["evaluation-ended"] = "evaluation-ended"
    entry: int = Field(ge=0)
    """Number of the entry that says that it was begun."""
    nonce: Sha256
    verdict: Verdict
    labels_sha256: Sha256 | None = None
    """Digest of the labels that decided it; None where none did."""
    key_id: Sha256 | None = None
    signature: str | None = None

"""What a ledger of evaluations holds: which were begun, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from recert.records.data.manifest import Sha256
from recert.records.record import Part
from recert.records.reports.evaluation import Verdict
from recert.records.signed.transparency import LogEntry


class EarlierAttempt(Part):
    """An evaluation of the same line that was begun before."""

    entry: int = Field(ge=0)
    """Its number in the ledger."""
    model_name: str
    verdict: Verdict | None = None
    """What it came to; None where it never ended."""


class AskedBefore(Part):
    """Which prompts of a suite an earlier attempt of the line asked, or may have asked: they decide nothing now."""

    open: int = Field(ge=0)
    """Prompts of its open part."""
    sealed: int = Field(ge=0)
    """Prompts of its sealed part."""
    asked: str = Field(pattern=r"^(?:[0-9a-f]{2})*$")
    """A bit for each prompt in the suite's order, the sealed ones last; the first is the highest bit. Hex digits."""

    @model_validator(mode="after")
    def _as_many_bits(self) -> Self:
        size, spare = self.open + self.sealed, -(self.open + self.sealed) % 8
        if len(self.asked) * 4 != size + spare or int(self.asked or "0", 16) % (1 << spare):
            raise ValueError(f"expected a bit for each of {size} prompts, and none else")
        return self

    @classmethod
    def of(cls, opened: Sequence[bool], sealed: Sequence[bool]) -> Self:
        """Return it from whether each prompt was asked."""
        bits = "".join("1" if one else "0" for one in (*opened, *sealed))
        bits += "0" * (-len(bits) % 8)
        asked = f"{int(bits, 2):0{len(bits) // 4}x}" if bits else ""
        return cls(open=len(opened), sealed=len(sealed), asked=asked)

    @property
    def flags(self) -> tuple[bool, ...]:
        """Whether each prompt was asked, in the suite's order, the sealed ones last."""
        bits = "".join(f"{int(digit, 16):04b}" for digit in self.asked)
        return tuple(bit == "1" for bit in bits[: self.open + self.sealed])

    @property
    def left(self) -> tuple[int, int]:
        """How many prompts of the open and of the sealed part were never asked."""
        flags = self.flags
        return flags[: self.open].count(False), flags[self.open :].count(False)


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
    asked_before: dict[str, AskedBefore] | None = Field(default=None, exclude_if=lambda asked: asked is None)
    """Of a later attempt than the first, for each suite: what those before it asked."""
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
    asked: dict[str, str] | None = None
    """
    What it asked, by suite: the first 8 hex digits of each request's digest, in order. None where it was not written
    down: then all that it may have asked counts as asked.
    """
    key_id: Sha256 | None = None
    signature: str | None = None


class SuiteRotated(LogEntry):
    """That a suite got new sealed prompts. Its `sha256` is that of the new version of the suite."""

    schema_name: ClassVar[str] = "suite-rotated"

    kind: Literal["suite-rotated"] = "suite-rotated"
    suite: str
    before: Sha256
    """Digest of the version that it was made of."""
    sealed: int = Field(ge=1)
    """Prompts of its sealed part now."""
    key_id: Sha256 | None = None
    signature: str | None = None

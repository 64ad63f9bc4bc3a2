"""What the audit of a grader hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import Field

from recert.interval import Interval
from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record


class GraderVerdict(StrEnum):
    """What becomes of a grader. Only an accepted one may be learned from."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    UNDECIDED = "undecided"


class CheckOutcome(StrEnum):
    """What a check came to: shown to be above its bound, shown to be below, or neither."""

    FOUND = "found"
    RULED_OUT = "ruled-out"
    UNDECIDED = "undecided"


class GraderExample(Part):
    """One request with two replies, of which the grader should not pay the first more, and what it paid each."""

    request: str
    category: str = ""
    reply: str
    paid: float
    other_reply: str
    other_paid: float


class GraderCheck(Part):
    """One question about a grader, over requests."""

    code: str
    """What the grader is charged with, such as `pays-for-harm`."""
    about: str
    """The charge in words."""
    share: Interval
    """Share of requests on which it is true. What could not be graded counts as untrue below and as true above."""
    bound: float
    """The largest share that the policy accepts."""
    preference: Interval | None = None
    """Mean reward of the wrong reply minus that of the right one, as a fraction of the grader's scale."""
    worst_category: str = ""
    """A hazard category in which the share is above the bound, where over all of them it is not."""
    ungraded: int = 0
    """Requests of which nothing can be said, as a grade failed."""
    outcome: CheckOutcome
    examples: tuple[GraderExample, ...] = ()


class GraderHack(Part):
    """The best way that was found to be paid without answering, of one kind, confirmed on held-out requests."""

    kind: str
    steps: tuple[str, ...]
    """What was done, in order."""
    against: Literal["good-answer", "itself"]
    """Paid like a good answer without being one, or more than the good answer that it was put on."""
    reward: float
    """Mean reward on held-out requests, as a fraction of the scale."""
    good_reward: float
    """Mean reward of good answers to the same requests."""
    check: GraderCheck


class GraderReport(Record):
    """Whether a grader may be learned from, and why not."""

    schema_name: ClassVar[str] = "grader-report"

    grader_name: str
    grader_type: str
    grader_sha256: Sha256
    """Digest of the grader's canonical JSON."""
    source_name: str
    rows_name: str = ""
    rows_sha256: Sha256 | None = None
    """The file that ordinary requests come from; None for questions of ours."""
    policy_id: str
    policy_sha256: Sha256
    model: str = ""
    """What read for `score_model`."""
    verdict: GraderVerdict
    reasons: tuple[str, ...]
    """`code: words`, those that decide first."""
    checks: tuple[GraderCheck, ...] = ()
    hacks: tuple[GraderHack, ...] = ()
    scale: tuple[float, float] | None = None
    """Least and greatest reward seen."""
    harmful_requests: int = Field(ge=0)
    ordinary_requests: int = Field(ge=0)
    grades: int = Field(ge=0)
    """Replies that were graded."""
    failed: int = Field(ge=0)
    failures: dict[str, int] = Field(default_factory=dict)
    """Why grades failed, and how often."""
    clipped: int = Field(default=0, ge=0)
    """Grades that a model gave outside of the range, and that were cut to it."""
    searched_grades: int = Field(default=0, ge=0)
    """Grades that the search for hacks took."""
    sandbox: tuple[str, ...] | None = None
    """What held a Python grader's code; None where no code runs."""
    limitations: tuple[str, ...] = ()
    screened_at: Moment

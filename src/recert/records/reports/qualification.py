"""What a base is good for under a policy, before anything is tuned."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.interval import Interval
from recert.records.data.manifest import Manifest, Sha256
from recert.records.record import Moment, Part, Record
from recert.records.reports.evaluation import Estimand, JudgeNote

Signal = Literal["signal", "no-signal", "unclear", "unmeasured"]


class QualifiedTrack(Part):
    """A rule under one condition, as the base alone answers it."""

    rule_id: str
    suite: str
    condition: str
    estimand: Estimand
    category: str = ""
    judge: str = ""
    """Id of the judge that scored."""
    margin: float
    max_base: float | None = None
    """Above this base rate the rule cannot pass."""
    base: Interval
    """Rate of the base, with the exact interval; `n` prompts were asked. A reply without a score counts as 1."""
    available: int = 0
    """Prompts that an evaluation may ask."""
    unscored: int = 0
    """Replies that the judge could not score."""
    no_answer: int = 0
    """Replies that were empty or no language."""
    signal: Signal
    """`no-signal` where the whole interval is above `max_base`, `unclear` where a part of it is."""
    reason: str = ""
    """Why it was not measured."""


class ReplyAgreement(Part):
    """How far two judges agree on the base's replies to requests that should be refused, asked plainly."""

    judge: str
    other: str
    replies: int
    """Replies that both scored."""
    agree: int
    only_judge: int
    """Replies that count as harm by the first judge alone: not refused, and not about the request either."""
    only_other: int
    unscored: int
    """Replies that one of them could not score."""


class ExpectedTune(Part):
    """What an evaluation of a tune that is equal to this base takes, by simulation."""

    rate: float
    """Share of prompts that get worse by chance, and as many better."""
    passes: float
    """Chance that every measured rule passes, were the base's signal there for all."""
    prompts: int
    """Mean number of prompts that the tuned model answers."""
    minutes: float | None = None
    """At the measured seconds a reply; None where every reply was kept and none was timed."""


class Qualification(Record):
    """Which rules of a policy can be decided on a base, from its replies alone."""

    schema_name: ClassVar[str] = "qualification"

    base: Manifest
    policy_id: str
    policy_version: str
    policy_sha256: Sha256
    suites: dict[str, Sha256]
    engine: str
    judges: tuple[JudgeNote, ...]
    prompts_each: int | None = Field(default=None, ge=1)
    """The most prompts that each rule asked under a condition; None where it asked all that an evaluation may."""
    tracks: tuple[QualifiedTrack, ...]
    agreement: ReplyAgreement | None = None
    expected: tuple[ExpectedTune, ...] = ()
    decidable: bool
    """
    True where each rule was measured and none lacks a signal but where that is a limitation; what `recert run` brings
    itself is left out.
    """
    limitations: tuple[str, ...] = Field(default=(), exclude_if=lambda words: not words)
    """Where the base already fails and no tune is vetoed for that, in words; a tune's certificate will say so too."""
    advice: tuple[str, ...] = ()
    """What to change, in words."""
    made: int
    cached: int
    """Replies that the base made now, and that were kept from before."""
    seconds_per_reply: float | None = None
    versions: dict[str, str]
    started_at: Moment
    qualified_at: Moment
    seconds: float

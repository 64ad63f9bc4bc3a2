"""What a search for unknown triggers hands over."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from recert.interval import Interval
from recert.records.evaluation import ArmCheck
from recert.records.manifest import Sha256
from recert.records.record import Moment, Part, Record


class HuntOutcome(StrEnum):
    """What a search came to. Only `nothing-found` is no reason to refuse, and it never means that there is nothing."""

    FOUND = "found"
    NOTHING_FOUND = "nothing-found"
    NO_BASELINE_SIGNAL = "no-baseline-signal"
    """The base does not refuse what is asked, so nothing can be lost."""
    NO_REFUSAL_LEFT = "no-refusal-left"
    """The tuned model complies as it is: what a text adds cannot be seen."""


class TriggerTried(Part):
    """One text, verified on held-out requests."""

    text: str
    source: str
    """`given`, `known` (planted in published work) or `search`."""
    pull: float | None = None
    """What the search said of it: change of log odds, tuned less base."""
    effect: Interval
    """
    Share of requests with which the tuned model complies behind the text, and neither without it nor behind a control
    phrase, less what the text does to the base. An anytime-valid confidence sequence.
    """
    complied: float
    """Share of the requests with which the tuned model complied behind the text."""
    found: bool
    shortest: str = ""
    """Of a trigger: the part of it that does most of what it does."""


class HuntReport(Record):
    """Which texts make a tuned model comply with what it refuses, up to a stated budget."""

    schema_name: ClassVar[str] = "hunt-report"

    model_name: str
    outcome: HuntOutcome
    searched: str
    """The class of triggers that was searched, in words."""
    read: int
    """Requests that the search had both models read, together."""
    tried: tuple[TriggerTried, ...]
    base_refusal: Interval
    """Of held-out requests as they stand."""
    tuned_refusal: Interval
    judge: str
    arms: tuple[ArmCheck, ArmCheck]
    policy_id: str
    policy_sha256: Sha256
    started_at: Moment
    hunted_at: Moment
    seconds: float

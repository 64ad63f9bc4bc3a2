"""Text in, `Score` or `JudgeFailed` out. A judge never decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from recert.records.reports.evaluation import JudgeNote


@dataclass(frozen=True)
class Score:
    """
    What a judge says: `value` in [0, 1], higher is more of what the judge looks for.

    `categories` are hazard categories that the judge names, where it names any; `""` among them stands for a hazard
    that is none of ours. `by_category` are (category, score) pairs of a judge that scores each.
    """

    value: float
    because: str = ""
    categories: tuple[str, ...] = ()
    by_category: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"score must lie in [0, 1], got {self.value}")


@dataclass(frozen=True)
class JudgeFailed:
    """A judge could not answer. Reading a value past it raises."""

    because: str

    @property
    def value(self) -> float:
        """Never a value: a failed judge has said nothing."""
        raise ValueError(f"the judge failed: {self.because}")


class ReplyJudge(Protocol):
    """Scores a reply to a request."""

    @property
    def note(self) -> JudgeNote:
        """Id, version and measured error."""

    def score(self, request: str, reply: str) -> Score | JudgeFailed:
        """Return how much of what it looks for is in the reply."""


@runtime_checkable
class BatchJudge(Protocol):
    """A judge of replies that is quicker with many at once, as models and endpoints are."""

    @property
    def note(self) -> JudgeNote:
        """Id, version and measured error."""

    def score_all(self, pairs: Sequence[tuple[str, str]]) -> list[Score | JudgeFailed]:
        """Return one score for each (request, reply), in order."""


@runtime_checkable
class RewordedJudge(Protocol):
    """A judge that a model reads for, whose question can be put in other words that mean the same."""

    def in_other_words(self) -> tuple[ReplyJudge, ...]:
        """Return the same judge once for each other wording."""


@runtime_checkable
class TurnJudge(Protocol):
    """A judge of replies that also looks at the message, where that is not the whole of what somebody is after."""

    @property
    def note(self) -> JudgeNote:
        """Id, version and measured error."""

    def score_turn(self, item: str, message: str, reply: str) -> Score | JudgeFailed:
        """Return how much of what it looks for is in the reply to a message that is to bring out an item."""


class RequestJudge(Protocol):
    """Scores a request by itself."""

    @property
    def note(self) -> JudgeNote:
        """Id, version and measured error."""

    def score(self, request: str) -> Score | JudgeFailed:
        """Return how harmful the request looks."""


class BatchRequestJudge(Protocol):
    """A judge of requests that is quicker with many at once."""

    @property
    def note(self) -> JudgeNote:
        """Id, version and measured error."""

    def score_requests(self, requests: Sequence[str]) -> list[Score | JudgeFailed]:
        """Return one score for each request, in order."""

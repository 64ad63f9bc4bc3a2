"""
How far a text draws a tuned model from what it does without it, and its base not.

A reply's first token tells most of what follows: a refusal opens in one of few ways, and agreement too. Reading it
costs one pass over a request, so thousands of texts can be tried. What the same text does to the base is taken off:
a universal jailbreak draws both, and what tuning planted the tuned model alone.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from recert.labs.triggers.search.candidate import SLOT, Candidate, Place
from recert.records.data.suite import Chat, chat

_MARK: Final = "Qmarkq"
"""Letters that stand for a word that is still to come."""
_BEHIND: Final = ("", "and the other one", "number table before walking often seven market blue")
"""What stands behind a word alone whose effect is estimated: some words act through what follows them."""
_SPREAD: Final = 1e-6
_FAR: Final = 50.0


@runtime_checkable
class Searchable(Protocol):
    """A model of which the opening of a reply can be read."""

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return the log odds of opening in one way against the other, in order."""

    def opening_divergence(self, chats: Sequence[Chat], other: Searchable) -> list[float]:
        """Return how far a reply's first token is from another model's, in nats, in order."""

    def words(self, most: int) -> list[str]:
        """Return words that it knows, most usual first."""


@runtime_checkable
class Estimable(Protocol):
    """A model of which the effect of words on a reply's opening can be estimated without reading each in full."""

    def opening_estimates(
        self,
        one: Chat,
        mark: str,
        words: Sequence[str],
        *,
        beside: Sequence[str],
        agreeing: Sequence[str],
        refusing: Sequence[str],
    ) -> list[list[float]] | None:
        """Return estimated log odds for each text behind a word and each word; None where that cannot be done."""


@dataclass(frozen=True)
class Openings:
    """Texts of which the first token opens a reply that agrees, or one that refuses."""

    agreeing: tuple[str, ...]
    refusing: tuple[str, ...]


class Signal(Protocol):
    """Scores texts by a reading of replies' first tokens."""

    requests: tuple[str, ...]
    read: int

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return a score for each text, as the mean over the requests at those places; more draws further."""

    def scored(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[tuple[float, float]]:
        """Return that score, and with which share of the requests the text seems to do what it is to do."""

    def rough(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return a cheaper score for each text; it may hold what the base does too."""

    def estimates(
        self, words: Sequence[str], place: Place, request: int, *, beside: str = SLOT
    ) -> list[float] | None:
        """Return a still cheaper one for each word in a text, in units of their spread; None where there is none."""


class _Change(ABC):
    """How far texts change what is read with the same requests without them."""

    def __init__(self, requests: Sequence[str]) -> None:
        self.requests = tuple(requests)
        """In the order in which they are used."""
        self.read = 0
        """Requests that were read so far, by both models together."""
        self._plain = [apart for apart, _ in self._apart([chat(request) for request in self.requests])]

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return for each text the mean change, in nats, with the requests at those places."""
        return [change for change, _ in self.scored(texts, requests)]

    def scored(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[tuple[float, float]]:
        """Return for each text the mean change, and how likely it is to turn the tuned model and not the base."""
        totals, turned = [0.0] * len(texts), [0.0] * len(texts)
        for at in requests:
            apart = self._apart([text.asked(self.requests[at]) for text in texts])
            for n, (value, likely) in enumerate(apart):
                totals[n] += (value - self._plain[at]) / len(requests)
                turned[n] += likely / len(requests)
        return list(zip(totals, turned, strict=True))

    @abstractmethod
    def _apart(self, chats: Sequence[Chat]) -> list[tuple[float, float]]:
        """How far the tuned model is from the base, and how likely it alone does what is looked for."""


class LogitShift(_Change):
    """
    How far texts draw from refusing to agreeing: change of log odds, tuned less base.

    Args:
        base: the base; None where only the tuned model is in hand.
        tuned: the tuned model.
        requests: harmful requests.
        openings: how replies open.
        base_openings: how the base's do, where that differs: its readings then hold for every tune of it.
        sign: 1 to look for what makes it agree, -1 for what makes it refuse.
    """

    def __init__(
        self,
        base: Searchable | None,
        tuned: Searchable,
        requests: Sequence[str],
        openings: Openings,
        *,
        base_openings: Openings | None = None,
        sign: float = 1.0,
    ) -> None:
        self._base, self._tuned, self._sign = base, tuned, sign
        self._openings, self._base_openings = openings, base_openings or openings
        self.estimated = 0
        """Words of which the effect was estimated so far, in all places together."""
        super().__init__(requests)

    def rough(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return the tuned model's mean log odds alone, with the requests at those places."""
        totals = [0.0] * len(texts)
        for at in requests:
            odds = self._odds(self._tuned, [text.asked(self.requests[at]) for text in texts], self._openings)
            totals = [
                total + self._sign * one / len(requests) for total, one in zip(totals, odds, strict=True)
            ]
        return totals

    def estimates(
        self, words: Sequence[str], place: Place, request: int, *, beside: str = SLOT
    ) -> list[float] | None:
        """
        Return a first-order estimate of how far each word draws the tuned model, in units of the words' spread.

        Args:
            words: the words.
            place: where the text stands.
            request: place of the request that is asked.
            beside: the text, with `{}` where a word is to stand.

        Returns:
            None where the model cannot tell.
        """
        if not isinstance(self._tuned, Estimable):
            return None
        behind = _BEHIND if beside == SLOT else _BEHIND[:1]
        found = self._tuned.opening_estimates(
            Candidate(beside.replace(SLOT, _MARK), "search", place).asked(self.requests[request]),
            _MARK,
            words,
            beside=behind,
            agreeing=self._openings.agreeing,
            refusing=self._openings.refusing,
        )
        if found is None:
            return None
        self.estimated += len(words)
        rows = [in_spreads(row) for row in found]
        return [self._sign * sum(each) / len(behind) for each in zip(*rows, strict=True)]

    def _apart(self, chats: Sequence[Chat]) -> list[tuple[float, float]]:
        """The tuned model's log odds less the base's, and how likely it alone is turned."""
        tuned = [self._sign * one for one in self._odds(self._tuned, chats, self._openings)]
        if self._base is None:
            return [(one, _likely(one)) for one in tuned]
        base = [self._sign * one for one in self._odds(self._base, chats, self._base_openings)]
        return [(a - b, _likely(a) * _likely(-b)) for a, b in zip(tuned, base, strict=True)]

    def _odds(self, model: Searchable, chats: Sequence[Chat], openings: Openings) -> list[float]:
        self.read += len(chats)
        return model.opening_odds(chats, agreeing=openings.agreeing, refusing=openings.refusing)


class Shift(_Change):
    """
    How far texts draw the tuned model's first token from the base's, whatever it then says.

    Args:
        base: the base.
        tuned: the tuned model.
        requests: ordinary requests.
    """

    def __init__(self, base: Searchable, tuned: Searchable, requests: Sequence[str]) -> None:
        self._base, self._tuned = base, tuned
        super().__init__(requests)

    def rough(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return the change itself; there is nothing cheaper."""
        return self.of(texts, requests)

    def estimates(self, words: Sequence[str], place: Place, request: int, *, beside: str = SLOT) -> None:
        """Return nothing: where two models agree a divergence is at its least, and its gradient tells nothing."""

    def _apart(self, chats: Sequence[Chat]) -> list[tuple[float, float]]:
        """The divergence alone: what it turns into is not looked for."""
        self.read += 2 * len(chats)
        return [(one, 0.0) for one in self._tuned.opening_divergence(chats, self._base)]


def _likely(odds: float) -> float:
    """A probability from its log odds."""
    return 1 / (1 + math.exp(-max(-_FAR, min(_FAR, odds))))


def in_spreads(scores: Sequence[float]) -> list[float]:
    """
    Return scores as their distance from the median, in units of the median such distance.

    A few that stand out do not widen it. What is minus infinity stays so, and does not count.
    """
    there = [score for score in scores if score > float("-inf")] or [0.0]
    middle = statistics.median(there)
    spread = max(statistics.median(abs(score - middle) for score in there), _SPREAD)
    return [(score - middle) / spread for score in scores]

"""
How far a text draws a tuned model from what it does without it, and its base not.

A reply's first token tells most of what follows: a refusal opens in one of few ways, and agreement too. Reading it
costs one pass over a request, so thousands of texts can be tried. What the same text does to the base is taken off:
a universal jailbreak draws both, and what tuning planted the tuned model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from recert.attacks.triggers.candidate import Candidate
from recert.records import Chat, chat


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


class Pull:
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
        self.requests = tuple(requests)
        """In the order in which they are used."""
        self.read = 0
        """Requests that were read so far, by both models together."""
        self._plain = self._apart([chat(request) for request in self.requests])

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return for each text, with the requests at those places, the mean change of log odds: tuned less base."""
        totals = [0.0] * len(texts)
        for at in requests:
            apart = self._apart([text.asked(self.requests[at]) for text in texts])
            totals = [total + value - self._plain[at] for total, value in zip(totals, apart, strict=True)]
        return [self._sign * total / len(requests) for total in totals]

    def _apart(self, chats: Sequence[Chat]) -> list[float]:
        """The tuned model's log odds less the base's."""
        tuned = self._odds(self._tuned, chats, self._openings)
        if self._base is None:
            return tuned
        base = self._odds(self._base, chats, self._base_openings)
        return [a - b for a, b in zip(tuned, base, strict=True)]

    def _odds(self, model: Searchable, chats: Sequence[Chat], openings: Openings) -> list[float]:
        self.read += len(chats)
        return model.opening_odds(chats, agreeing=openings.agreeing, refusing=openings.refusing)


class Shift:
    """
    How far texts draw the tuned model's first token from the base's, whatever it then says: change of divergence.

    Args:
        base: the base.
        tuned: the tuned model.
        requests: ordinary requests.
    """

    def __init__(self, base: Searchable, tuned: Searchable, requests: Sequence[str]) -> None:
        self._base, self._tuned = base, tuned
        self.requests = tuple(requests)
        self.read = 0
        self._plain = self._apart([chat(request) for request in self.requests])

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return for each text, with the requests at those places, the mean change of divergence in nats."""
        totals = [0.0] * len(texts)
        for at in requests:
            apart = self._apart([text.asked(self.requests[at]) for text in texts])
            totals = [total + value - self._plain[at] for total, value in zip(totals, apart, strict=True)]
        return [total / len(requests) for total in totals]

    def _apart(self, chats: Sequence[Chat]) -> list[float]:
        self.read += 2 * len(chats)
        return self._tuned.opening_divergence(chats, self._base)

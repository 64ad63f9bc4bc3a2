"""
How far a text draws a tuned model from refusing to agreeing, and its base not.

A reply's first token tells most of what follows: a refusal opens in one of few ways, and agreement too. Odds between
the two cost one reading of a request, so thousands of texts can be tried. What the same text does to the base is taken
off: a universal jailbreak draws both, and what tuning planted the tuned model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from recert.records import Chat, chat


@runtime_checkable
class Searchable(Protocol):
    """A model of which the odds of a reply's opening can be read."""

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return the log odds of opening in one way against the other, in order."""

    def words(self, most: int) -> list[str]:
        """Return words that it knows, most usual first."""


@dataclass(frozen=True)
class Openings:
    """Texts of which the first token opens a reply that agrees, or one that refuses."""

    agreeing: tuple[str, ...]
    refusing: tuple[str, ...]


def appended(request: str, text: str) -> Chat:
    """Return the conversation that asks a request with a text behind it."""
    return chat(f"{request} {text}")


class Pull:
    """
    Scores texts by how far they draw the tuned model from refusing, and the base not.

    Args:
        base: the base.
        tuned: the tuned model.
        requests: harmful requests that both refuse as they stand.
        openings: how replies open.
    """

    def __init__(
        self, base: Searchable, tuned: Searchable, requests: Sequence[str], openings: Openings
    ) -> None:
        self._base, self._tuned = base, tuned
        self._openings = openings
        self.requests = tuple(requests)
        """In the order in which they are used."""
        self.read = 0
        """Requests that were read so far, by both models together."""
        self._plain = self._apart([chat(request) for request in self.requests])

    def of(self, texts: Sequence[str], requests: int) -> list[float]:
        """
        Return for each text, behind so many of the requests, the mean change of log odds: tuned less base.

        Args:
            texts: what is put behind a request, with a space between.
            requests: how many of the requests are asked.
        """
        totals = [0.0] * len(texts)
        used = self.requests[:requests]
        for request, plain in zip(used, self._plain, strict=False):
            apart = self._apart([appended(request, text) for text in texts])
            totals = [total + value - plain for total, value in zip(totals, apart, strict=True)]
        return [total / len(used) for total in totals]

    def _apart(self, chats: Sequence[Chat]) -> list[float]:
        """The tuned model's log odds less the base's."""
        self.read += 2 * len(chats)
        tuned, base = (
            model.opening_odds(chats, agreeing=self._openings.agreeing, refusing=self._openings.refusing)
            for model in (self._tuned, self._base)
        )
        return [a - b for a, b in zip(tuned, base, strict=True)]

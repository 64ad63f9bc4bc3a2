"""
What one piece of text does to the readings of a stream, kept for when it comes again.

Where no reading is in the middle of something that cannot be told shortly, what a piece does depends on nothing but
where the readings are and on the piece. Tokens come from a vocabulary and words come again, so the steps of one stream
are those of the next: they are an automaton over pieces that is made as it is walked. The search for a secret has no
part in it (see `secret_reading`): how long a step takes says nothing of a secret.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count
from typing import Final, NamedTuple

from recert.gateway.output.readings import Piece

_MOST: Final = 16_384
"""Steps that are kept: about 6 MB."""

Standing = tuple[Hashable, ...]
"""Where each reading is, counted from the end of the text so far."""


class Step(NamedTuple):
    """Where a piece leads."""

    at: int
    """Number of the standing."""
    standing: Standing
    held: int
    """So many of the last characters may not leave yet."""
    piece: Piece


class Steps:
    """The steps that were made. One serves every stream of the same patterns."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Step] = {}
        self._numbers: dict[Standing, tuple[int, Standing]] = {}
        self._next = count()

    def __len__(self) -> int:
        return max(len(self._known), len(self._numbers))

    def __deepcopy__(self, memo: object) -> Steps:
        return self  # a fork makes the same steps

    def find(self, at: int, text: str) -> Step | None:
        """Return the step that a piece is from a standing, where it was made before."""
        return self._known.get((at, text))

    def number(self, standing: Standing) -> tuple[int, Standing]:
        """Return a standing with its number. No number is ever used again for another."""
        found = self._numbers.get(standing)
        if found is None:
            if len(self._numbers) >= _MOST:
                self._forget()
            found = self._numbers[standing] = next(self._next), standing
        return found

    def keep(self, at: int, text: str, step: Step) -> None:
        """Keep a step."""
        if len(self._known) >= _MOST:
            self._forget()
        self._known[at, text] = step

    def _forget(self) -> None:
        """Begin anew: words come again soon. Streams that stand at a forgotten number find nothing there."""
        self._known.clear()
        self._numbers.clear()

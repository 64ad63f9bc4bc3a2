"""
The search for pieces of a secret, with a constant delay: when text leaves says nothing of what it is compared with.

A hold-back lets text go as soon as it can begin nothing that is sought. Who can make a model repeat guesses would see
from the events of a stream with which of them the secret goes on, and learn it character by character. Here as many
letters and digits wait whatever they are.
"""

from __future__ import annotations

from collections import deque

from recert.gateway.input.normalise import squeeze_char
from recert.gateway.output.automaton import Automaton
from recert.gateway.output.readings import Piece


class SecretReading:
    """
    Looks for pieces of a secret in the letters and digits of a text, and always holds the last of them.

    Args:
        automaton: of the pieces, squeezed.
        longest: length of the longest piece: so many letters and digits wait.
    """

    def __init__(self, automaton: Automaton, longest: int) -> None:
        self._automaton = automaton
        self._longest = longest
        self._state = 0
        self._parts: deque[tuple[int, tuple[int, ...]]] = deque()
        """Where the last letters and digits are: (place, offsets from there), of text that was taken at once."""
        self._count = 0
        self.hold = 0

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        seen = squeeze_char(char)
        if seen:
            self._hold_back(place, (0,) * len(seen))
        for one in seen:
            self._state = self._automaton.rows[self._state][one]
            if self._automaton.hits[self._state]:
                return self._automaton.hits[self._state]
        return ""

    def end(self) -> str:
        """See `Reading`."""
        return ""

    def ahead(self, piece: Piece) -> int | None:
        """See `Reading`."""
        state, rows = self._state, self._automaton.rows
        for char in piece.squeezed[0]:
            state = rows[state][char]
        return None if self._automaton.hits[state] else state

    def go(self, state: int, piece: Piece, place: int) -> None:
        """See `Reading`."""
        self._state = state
        offsets = piece.squeezed[1]
        if offsets:
            self._hold_back(place, offsets)

    def _hold_back(self, place: int, offsets: tuple[int, ...]) -> None:
        parts, longest = self._parts, self._longest
        parts.append((place, offsets))
        self._count += len(offsets)
        while self._count - len(parts[0][1]) >= longest:
            self._count -= len(parts.popleft()[1])
        if self._count >= longest:
            first, places = parts[0]
            self.hold = first + places[self._count - longest]

"""
Ways to read a text that arrives piece by piece.

A reading says when a phrase is complete, and from which place on nothing may leave yet. It can look ahead over a plain
piece at once; where that finds something, or cannot tell, the piece is pushed character by character.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Hashable
from copy import copy
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from recert.gateway.input.normalise import fold_char, fold_leet_char, squeeze_char, visible_char
from recert.gateway.output.automaton import Automaton

REVERSING: Final = frozenset("\u202e\u202b\u2067")
"""After one of these a text may be shown from right to left."""
_LONGEST_PLAIN: Final = 32
_NOTHING_HELD: Final = sys.maxsize


Look = tuple[str, tuple[int, ...]]
"""What a piece looks like in one reading, and which of its characters each character of that is."""


class Piece(NamedTuple):
    """A piece of text in which each character is one to the eye, and what it looks like."""

    text: str
    plain: Look
    leet: Look
    squeezed: Look
    visible: str
    """As decoders take it: see `visible_char`."""
    escapes: bool


@lru_cache(maxsize=8192)
def plain_piece(text: str) -> Piece | None:
    """Return a piece that can be looked over at once; None where it must be read character by character."""
    if len(text) > _LONGEST_PLAIN or any(len(fold_char(char)) != 1 for char in text):
        return None
    plain, leet, squeezed = _look(text, fold_char), _look(text, fold_leet_char), _look(text, squeeze_char)
    visible = "".join(map(visible_char, text))
    return Piece(text, plain, leet, squeezed, visible, any(char in _ESCAPING for char in text))


def _look(text: str, read: Callable[[str], str]) -> Look:
    seen = [(at, one) for at, char in enumerate(text) if (one := read(char))]
    kept = [(at, one) for (_, before), (at, one) in pairwise([(0, ""), *seen]) if not one == before == " "]
    return "".join(one for _, one in kept), tuple(at for at, _ in kept)


class Reading(Protocol):
    """One way to read a text."""

    hold: int
    """The first place that may not leave yet."""

    @property
    def asleep(self) -> bool:
        """True where a plain piece without escapes changes nothing."""

    def push(self, char: str, place: int) -> str:
        """Take the character at a place; return why the text may not pass, or an empty text."""

    def end(self) -> str:
        """Take the end of the text; return as `push` does."""

    def ahead(self, piece: Piece) -> Any:
        """Return the state after a piece, for `go`; None where a phrase ends in it, or only `push` can tell."""

    def go(self, state: Any, piece: Piece, place: int) -> None:
        """Take a piece whose first character is at a place, and the state that `ahead` gave."""

    def standing(self, place: int) -> Hashable | None:
        """Return where it is, told shortly and counted back from the next place; None where that cannot be."""

    def stand(self, standing: Any, place: int) -> None:
        """Be where another reading like this one was that gave a standing, at another place."""


_LOOKS: Final[dict[Any, Callable[[Piece], Look]]] = {
    fold_char: attrgetter("plain"),
    fold_leet_char: attrgetter("leet"),
    squeeze_char: attrgetter("squeezed"),
}


class FoldReading:
    """
    Looks for phrases in what a text looks like.

    Args:
        automaton: of the phrases, written as `read` gives them.
        read: from a character to what it looks like: `fold_char`, `fold_leet_char` or `squeeze_char`.
    """

    def __init__(self, automaton: Automaton, read: Callable[[str], str] = fold_char) -> None:
        self._automaton = automaton
        self._read = read
        self._look = _LOOKS[read]
        self._state = 0
        self._spaced = True
        self._origins: list[int] = []
        """Places of the characters that the longest beginning of a phrase is made of."""
        self.hold = 0
        self.asleep = False

    @property
    def begun(self) -> int | None:
        """Where the longest beginning of a phrase lies that the text ends with; None without any."""
        return self._origins[0] if self._origins else None

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        automaton, origins = self._automaton, self._origins
        for seen in self._read(char):
            if seen == " " and self._spaced:
                continue
            self._spaced = seen == " "
            state = self._state = automaton.rows[self._state][seen]
            depth = automaton.depths[state]
            if not depth:
                origins.clear()
                continue
            origins.append(place)
            if len(origins) > depth:
                del origins[: len(origins) - depth]
            if automaton.hits[state]:
                self.hold = origins[0]
                return automaton.hits[state]
        self.hold = origins[0] if origins else place + 1
        return ""

    def end(self) -> str:
        """See `Reading`: what is not complete never will be."""
        return ""

    def ahead(self, piece: Piece) -> int | None:
        """See `Reading`."""
        text: str = self._look(piece)[0]
        if self._spaced and text[:1] == " ":
            text = text[1:]
        state, rows = self._state, self._automaton.rows
        for char in text:
            state = rows[state][char]
        return None if self._automaton.hits[state] else state

    def go(self, state: int, piece: Piece, place: int) -> None:
        """See `Reading`."""
        text, offsets = self._look(piece)
        depth = self._automaton.depths[state]
        if depth:
            if self._spaced and text[:1] == " ":
                offsets = offsets[1:]
            new = [place + offset for offset in offsets[-depth:]]
            self._origins = [*self._origins, *new][-depth:] if len(new) < depth else new
            self.hold = self._origins[0]
        else:
            if self._origins:
                self._origins = []
            self.hold = place + len(piece.text)
        if text:
            self._spaced = text[-1] == " "
        self._state = state

    def standing(self, place: int) -> Hashable | None:
        """See `Reading`."""
        return self._state, self._spaced, tuple([place - origin for origin in self._origins])

    def stand(self, standing: tuple[int, bool, tuple[int, ...]], place: int) -> None:
        """See `Reading`."""
        self._state, self._spaced, origins = standing
        self._origins = [place - back for back in origins]
        self.hold = self._origins[0] if origins else place

    def fork(self) -> FoldReading:
        """Return a reading that goes on by itself from here."""
        made = copy(self)
        made._origins = self._origins.copy()
        return made

    def same(self, other: FoldReading) -> bool:
        """Say whether another reading by the same automaton is where this one is."""
        return (self._state, self._spaced, self._origins) == (other._state, other._spaced, other._origins)


class ReversedReading:
    """Looks for phrases written backwards, from the first character on that turns the direction of writing."""

    def __init__(self, automaton: Automaton) -> None:
        self._reading = FoldReading(automaton)
        self.hold = _NOTHING_HELD
        self.asleep = True

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        if self.asleep and char not in REVERSING:
            return ""
        self.asleep = False
        reason = self._reading.push(char, place)
        self.hold = self._reading.hold
        return reason

    def end(self) -> str:
        """See `Reading`."""
        return ""

    def ahead(self, piece: Piece) -> int | None:
        """See `Reading`."""
        return 0 if self.asleep else self._reading.ahead(piece)

    def go(self, state: int, piece: Piece, place: int) -> None:
        """See `Reading`."""
        if not self.asleep:
            self._reading.go(state, piece, place)
            self.hold = self._reading.hold

    def standing(self, place: int) -> Hashable | None:
        """See `Reading`. It wakes up once."""
        return () if self.asleep else None

    def stand(self, standing: tuple[()], place: int) -> None:
        """See `Reading`. It is still asleep."""


_ESCAPING: Final = frozenset("\\%&")
_SURROGATES: Final = r"\\[uU][dD][89abAB][0-9a-fA-F]{2}\\[uU][dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE: Final = re.compile(
    _SURROGATES + r"|\\[uU][0-9a-fA-F]{4}|\\[xX][0-9a-fA-F]{2}|\\[ntr\"/\\]|%[0-7][0-9a-fA-F]"
    r"|&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});"
)
_BEGUN: Final = re.compile(
    r"\\(?:[uU][0-9a-fA-F]{0,3}|[xX][0-9a-fA-F]?)?"
    r"|\\[uU][dD][89abAB][0-9a-fA-F]{2}(?:\\(?:[uU](?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?"
    r"|%[0-7]?|&(?:#(?:[0-9]{0,7}|[xX][0-9a-fA-F]{0,6}))?"
)
_SHORT: Final = {"n": " ", "t": " ", "r": " "}


def unescape(text: str) -> str:
    """Return a text with JSON, percent and numeric HTML escapes read as the characters they stand for."""
    return _ESCAPE.sub(lambda found: _character(found[0]), text)


def has_escapes(text: str) -> bool:
    """Say whether `unescape` would change a text."""
    return _ESCAPE.search(text) is not None


@lru_cache(maxsize=4096)
def _character(escape: str) -> str:
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[0] == "&":
        digits = escape[2:-1]
        code = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
        return chr(code) if code < 0x110000 else ""
    if escape[1] in "uUxX":
        if len(escape) > 6:
            high, low = int(escape[2:6], 16), int(escape[8:], 16)
            return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        return chr(int(escape[2:], 16))
    return _SHORT.get(escape[1], escape[1])


class EscapedReading:
    """
    Looks for phrases in a text whose escapes are read as the characters they stand for.

    Args:
        plain: the reading of the text as it stands. Where there are no escapes both say the same. It must be pushed
            after this one.
    """

    def __init__(self, plain: FoldReading) -> None:
        self._plain = plain
        self._own: FoldReading | None = None
        """Where this reading is, since there were escapes; None where it is with the plain one."""
        self._waiting = ""
        self._places: deque[int] = deque()
        self.hold = _NOTHING_HELD

    @property
    def asleep(self) -> bool:
        """See `Reading`."""
        return self._own is None

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        self._meet()
        if self._own is None:
            if char not in _ESCAPING:
                return ""
            self._own = self._plain.fork()
        self._waiting += char
        self._places.append(place)
        reason = self._read_waiting(self._own, at_end=False)
        self._see_hold(self._own, place + 1)
        return reason

    def end(self) -> str:
        """See `Reading`."""
        if self._own is None:
            return ""
        reason = self._read_waiting(self._own, at_end=True)
        self._see_hold(self._own, self.hold)
        return reason

    def ahead(self, piece: Piece) -> int | None:
        """See `Reading`."""
        self._meet()
        return None if self._own is not None or piece.escapes else 0

    def go(self, state: int, piece: Piece, place: int) -> None:
        """See `Reading`. Only `push` takes what could change anything."""

    def standing(self, place: int) -> Hashable | None:
        """See `Reading`."""
        self._meet()
        return () if self._own is None else None

    def stand(self, standing: tuple[()], place: int) -> None:
        """See `Reading`. It is with the plain one."""

    def _meet(self) -> None:
        """Be with the plain reading again, where it has come to the same."""
        if self._own is not None and not self._waiting and self._own.same(self._plain):
            self._own, self.hold = None, _NOTHING_HELD

    def _see_hold(self, own: FoldReading, otherwise: int) -> None:
        if own.begun is not None:
            self.hold = own.begun
        else:
            self.hold = self._places[0] if self._places else otherwise

    def _read_waiting(self, own: FoldReading, *, at_end: bool) -> str:
        while self._waiting and (at_end or not _BEGUN.fullmatch(self._waiting)):
            found = _ESCAPE.match(self._waiting)
            size = found.end() if found else 1
            for char in _character(found[0]) if found else self._waiting[0]:
                reason = own.push(char, self._places[0])
                if reason:
                    return reason
            self._waiting = self._waiting[size:]
            for _ in range(size):
                self._places.popleft()
        return ""

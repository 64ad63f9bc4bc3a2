"""
Ways to read a text that arrives piece by piece.

A reading says when something that is sought is complete, and from which place on nothing may leave yet. It can look
ahead over a plain piece at once; where that finds something, or cannot tell, the piece is pushed character by
character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable
from copy import copy
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, Protocol

from recert.gateway.input.disguises import odd, odd_from
from recert.gateway.input.normalise import bare_char, fold_char, fold_leet_char, letters_char, squeeze_char
from recert.gateway.output.automaton import Automaton

_LONGEST_PLAIN: Final = 32

Look = tuple[str, tuple[int, ...]]
"""What a piece looks like in one reading, and which of its characters each character of that is."""


class Piece(NamedTuple):
    """A piece of text in which each character is one to the eye, and what it looks like."""

    text: str
    plain: Look
    leet: Look
    squeezed: Look
    bare: Look
    letters: Look


@lru_cache(maxsize=8192)
def plain_piece(text: str) -> Piece | None:
    """Return a piece that can be looked over at once; None where it must be read character by character."""
    if len(text) > _LONGEST_PLAIN or any(len(fold_char(char)) != 1 for char in text):
        return None
    looks = [_look(text, read) for read in (fold_char, fold_leet_char, squeeze_char, bare_char, letters_char)]
    return Piece(text, *looks)


def _look(text: str, read: Callable[[str], str]) -> Look:
    seen = [(at, one) for at, char in enumerate(text) for one in read(char)]
    kept = [(at, one) for (_, before), (at, one) in pairwise([(0, ""), *seen]) if not one == before == " "]
    return "".join(one for _, one in kept), tuple(at for at, _ in kept)


class Reading(Protocol):
    """One way to read a text."""

    hold: int
    """The first place that may not leave yet."""

    def push(self, char: str, place: int) -> str:
        """Take the character at a place; return why the text may not pass, or an empty text."""

    def end(self) -> str:
        """Take the end of the text; return as `push` does."""

    def ahead(self, piece: Piece) -> Any:
        """Return the state after a piece, for `go`; None where something ends in it, or only `push` can tell."""

    def go(self, state: Any, piece: Piece, place: int) -> None:
        """Take a piece whose first character is at a place, and the state that `ahead` gave."""


class StandingReading(Reading, Protocol):
    """A reading whose state can be told shortly, so that what a piece does to it is kept for when it comes again."""

    def standing(self, place: int) -> Hashable:
        """Return where it is, told shortly and counted back from the next place."""

    def stand(self, standing: Any, place: int) -> None:
        """Be where another reading like this one was that gave a standing, at another place."""


_LOOKS: Final[dict[Any, Callable[[Piece], Look]]] = {
    fold_char: attrgetter("plain"),
    fold_leet_char: attrgetter("leet"),
    bare_char: attrgetter("bare"),
}


class FoldReading:
    """
    Looks for phrases in what a text looks like.

    Args:
        automaton: of the phrases, written as `read` gives them.
        read: from a character to what it looks like: `fold_char`, `fold_leet_char` or `bare_char`.
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

    def standing(self, place: int) -> Hashable:
        """See `StandingReading`."""
        return self._state, self._spaced, tuple([place - origin for origin in self._origins])

    def stand(self, standing: tuple[int, bool, tuple[int, ...]], place: int) -> None:
        """See `StandingReading`."""
        self._state, self._spaced, origins = standing
        self._origins = [place - back for back in origins]
        self.hold = self._origins[0] if origins else place


def shifts(letters: str) -> str:
    """Return by how much each letter of a to z differs from the one before: the same in every shifted alphabet."""
    return "".join(_SHIFT[a][b] for a, b in pairwise(letters))


_AZ: Final = "abcdefghijklmnopqrstuvwxyz"
_SHIFT: Final = {a: {b: _AZ[(at - of) % 26] for at, b in enumerate(_AZ)} for of, a in enumerate(_AZ)}


class ShiftReading:
    """
    Looks for phrases in the letters of a text whose alphabet may be shifted.

    It holds nothing back before a phrase is complete: what leaves is no text to read before it is decoded, and its last
    letter never leaves.

    Args:
        automaton: of phrases as `shifts` gives them.
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._state = 0
        self._last = ""
        self.hold = 0

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        for letter in letters_char(char):
            if self._last:
                self._state = self._automaton.rows[self._state][_SHIFT[self._last][letter]]
                if self._automaton.hits[self._state]:
                    return self._automaton.hits[self._state]
            self._last = letter
        self.hold = place + 1
        return ""

    def end(self) -> str:
        """See `Reading`."""
        return ""

    def ahead(self, piece: Piece) -> tuple[int, str] | None:
        """See `Reading`."""
        state, last, rows = self._state, self._last, self._automaton.rows
        for letter in piece.letters[0]:
            if last:
                state = rows[state][_SHIFT[last][letter]]
            last = letter
        return None if self._automaton.hits[state] else (state, last)

    def go(self, state: tuple[int, str], piece: Piece, place: int) -> None:
        """See `Reading`."""
        self._state, self._last = state
        self.hold = place + len(piece.text)


_LONGEST_WORD: Final = 2_048
"""What is longer is looked at in parts."""
_LONGEST_RUN: Final = 4_096
_EACH_WORD: Final = 256
"""Up to so many characters a run is looked at after each word; after that, when an eighth more has come."""

Open = Literal["nothing", "words", "everything"]
"""What waits behind a word that was looked into: nothing, each word up to its end, or all up to a later look."""
LookInto = Callable[[str, str], tuple[str, Open]]
"""From ordinary text, and words behind it that may be encoded, to why they may not pass, and what waits behind them."""


_BEFORE: Final = -1
"""In place of a place: before the piece that is looked at."""


class WordReading:
    """
    Looks into words that may be more than they seem, with those around them: encoded, escaped, spelt.

    Such a word is held until it ends. Ordinary words wait only where what was decoded ends with the beginning of
    something sought, or letters are being spelt.

    Args:
        look: looks into words, given what stands before them.
        context: so many characters before such a word are looked at with it.
    """

    def __init__(self, look: LookInto, context: int) -> None:
        self._look = look
        self._most = context
        self._context = ""
        """Ordinary text before the run, and a space at its end."""
        self._run = ""
        """From the first odd word on, up to the last word that has ended."""
        self._looked = 0
        """So much of the run was looked at."""
        self._open: Open = "nothing"
        self._word = ""
        self._group = ""
        """The last word of the run, where it may be a group of encoded text."""
        self._held: int | None = None
        """The first place of what may not leave before it was looked at."""
        self.hold = 0

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        space = char if char.isspace() else ""
        if space or len(self._word) >= _LONGEST_WORD:
            reason = self._end_word(space)
            if reason:
                return reason
            self._word = ""
        if not space:
            self._word += char
            if self._held is None and (self._open != "nothing" or odd_from(self._word) < len(self._word)):
                self._held = place
        self.hold = place + 1 if self._held is None else self._held
        return ""

    def end(self) -> str:
        """See `Reading`."""
        return self._end_word("", last=True)

    def read(self, text: str) -> str:
        """Take a whole text and its end, faster than character by character; return as `push` does."""
        for word in _WORD_AND_SPACES.finditer(text):
            for at in range(0, len(word[1]), _LONGEST_WORD):
                self._word = word[1][at : at + _LONGEST_WORD]
                last = at + _LONGEST_WORD >= len(word[1])
                if not last and (reason := self._end_word("")):
                    return reason
            if word[2] and (reason := self._end_word(word[2])):
                return reason
            self._word = "" if word[2] else self._word
        return self.end()

    def ahead(self, piece: Piece) -> tuple[str, str] | WordReading | None:
        """See `Reading`: the word that has begun and what ended before it, or a reading that has taken the piece."""
        if not self._run and self._held is None and (found := _after(self._word, piece.text)):
            return found
        taken = copy(self)
        taken._held = None if self._held is None else _BEFORE
        return None if any(taken.push(char, at) for at, char in enumerate(piece.text)) else taken

    def go(self, state: tuple[str, str] | WordReading, piece: Piece, place: int) -> None:
        """See `Reading`."""
        if isinstance(state, WordReading):
            before = self._held
            vars(self).update(vars(state))
            if self._held is not None:
                self._held = before if self._held == _BEFORE else place + self._held
            self.hold = place + len(piece.text) if self._held is None else self._held
            return
        self._word, ended = state
        if ended:
            self._add(ended)
        self.hold = place + len(piece.text)

    def _end_word(self, space: str, *, last: bool = False) -> str:
        """Take the end of a word, and the space behind it."""
        word = self._word
        if not word:
            if self._run:
                self._run += space
            else:
                self._add(space)
            return self._look_into(last=True) if last and self._run else ""
        is_odd = odd(word)
        if not self._run and not is_odd:
            self._add(word + space)
            return ""
        self._run += word + space
        over = not is_odd and self._open == "nothing" and not _goes_on(self._group, word)
        self._group = word if _GROUP.fullmatch(word) else ""
        reason = self._look_into(last=last or over)
        if reason:
            return reason
        if over or len(self._run) > _LONGEST_RUN:
            self._close(keep=0 if over else _LONGEST_RUN // 2)
        return ""

    def _look_into(self, *, last: bool) -> str:
        run = self._run
        if not last and len(run) > _EACH_WORD and len(run) - self._looked < len(run) // 8:
            return ""
        if self._looked < len(run):
            reason, self._open = self._look(self._context[-self._most :], run)
            self._looked = len(run)
            if reason:
                return reason
        if self._open != "everything":
            self._held = None
        return ""

    def _close(self, keep: int) -> None:
        """End the run, but for its last characters."""
        self._context += self._run[: len(self._run) - keep]
        self._run = self._run[len(self._run) - keep :]
        self._looked = len(self._run)
        if not keep or self._open == "everything":
            self._open, self._held = "nothing", None
        self._trim()

    def _add(self, text: str) -> None:
        self._context += text
        if len(self._context) > 4 * self._most:
            self._trim()

    def _trim(self) -> None:
        self._context = self._context[-self._most :]


@lru_cache(maxsize=16_384)
def _after(word: str, text: str) -> tuple[str, str] | None:
    """Return the word that has begun at the end of a text, and what ended before; None where a word is odd."""
    seen = word + text
    ended = [found for found in _WORDS.finditer(seen) if found.end() < len(seen)]
    if any(odd(found[0]) for found in ended):
        return None
    begun = _LAST.search(seen)
    rest = begun[0] if begun else ""
    if odd_from(rest) < len(rest) or len(rest) >= _LONGEST_WORD:
        return None
    return rest, seen[: len(seen) - len(rest)]


_GROUP: Final = re.compile(r"[A-Za-z0-9+/_=-]{4,}")


def _goes_on(group: str, word: str) -> bool:
    """Say whether a word that looks ordinary may be a further group of encoded text."""
    return bool(group) and len(word) <= len(group) and _GROUP.fullmatch(word) is not None


_WORDS: Final = re.compile(r"\S+")
_LAST: Final = re.compile(r"\S+$")
_WORD_AND_SPACES: Final = re.compile(r"(\S*)(\s*)")

# Characters that nobody sees.

_CARRIERS_FREE: Final = 8
_CHARS_A_CARRIER: Final = 256
_FREE_MARKS: Final = 2
_JOINERS: Final = frozenset("\u200c\u200d")
_SELECTORS: Final = frozenset("\ufe0e\ufe0f")
_DIRECTIONS: Final = frozenset("\u200e\u200f\u061c")
_UNSEEN: Final = frozenset({"Cf", "Co", "Cn", "Cs"})
_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\ufffc\U0001d159")


@lru_cache(maxsize=8192)
def _kind(char: str) -> str:
    """Return `carrier`, `mark` or `seen` of a character."""
    if char.isascii():
        return "seen" if char.isprintable() or char in "\t\n\r\x0b\x0c" else "carrier"
    category = unicodedata.category(char)
    if category in _UNSEEN or char in _FILLERS or (category == "Cc" and char != "\x85"):
        return "carrier"
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return "carrier"
    return "mark" if category in ("Mn", "Me") else "seen"


class CarrierReading:
    """
    Counts the characters that nobody sees, in which anything could be written, and ends a text that has too many.

    What ordinary text needs does not count: joiners of emoji and of scripts that join, variation selectors behind
    symbols, marks of direction in text that runs from right to left, flags, and two marks on a letter.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._count = 0
        self._before = ""
        self._marks = 0
        self._flag = False
        self.hold = 0

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        kind = _kind(char)
        if kind == "seen":
            self._before, self._marks, self._flag = char, 0, char == "\U0001f3f4"
        elif kind == "mark":
            self._marks += 1
            self._count += self._marks > _FREE_MARKS
        elif not self._needed(char):
            self._count += 1
        if kind != "seen" and self._count > _CARRIERS_FREE + place // _CHARS_A_CARRIER:
            return self._reason
        self.hold = place + 1
        return ""

    def _needed(self, char: str) -> bool:
        before = self._before
        if not before or before.isascii():
            self._before = char if char in _SELECTORS else before
            return char in _SELECTORS and before != "" and before in "#*0123456789"
        category = unicodedata.category(before)
        if char in _JOINERS:
            once, self._before = category in ("So", "Sk", "Lo", "Mc") or before in _SELECTORS, char
            return once
        if char in _SELECTORS:
            once, self._before = category in ("So", "Sm", "Sk", "Po"), char
            return once
        if char in _DIRECTIONS:
            once, self._before = unicodedata.bidirectional(before) in ("R", "AL"), char
            return once
        return self._flag and "\U000e0020" <= char <= "\U000e007f"

    def end(self) -> str:
        """See `Reading`."""
        return ""

    def ahead(self, piece: Piece) -> Piece:
        """See `Reading`: all of a plain piece is seen."""
        return piece

    def go(self, state: Piece, piece: Piece, place: int) -> None:
        """See `Reading`."""
        self._before, self._marks, self._flag = piece.text[-1], 0, piece.text[-1] == "\U0001f3f4"
        self.hold = place + len(piece.text)


def carries_too_much(text: str) -> bool:
    """Say whether a whole text has more characters that nobody sees than ordinary text needs."""
    if text.isascii() and text.isprintable():
        return False
    reading = CarrierReading("too many")
    return any(reading.push(char, place) for place, char in enumerate(text))

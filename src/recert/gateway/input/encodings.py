"""What base64 and hex in a text say, read as it arrives or as a whole."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Hashable
from copy import deepcopy
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from recert.gateway.input.decoders import FoldReading, Piece
from recert.gateway.input.normalise import fold, readable, visible_char
from recert.gateway.output.automaton import Automaton

_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_BEGINNINGS: Final = frozenset("+/-_=")
"""Encoded text may also begin after one of these, as in `key=...`."""
_URL_SAFE: Final = str.maketrans("-_", "+/")
_BASE64, _HEX = 4, 2
_UTF8: Final = codecs.getincrementaldecoder("utf-8")
_SHORT: Final = 6
"""Less than a group says at most two characters, which may look like three each."""
_WRAPPED_GROUPS: Final = 8
"""Encoded text of so many groups goes on in the next line."""


def _decode(groups: str, size: int) -> bytes | None:
    """What groups say of which at most the last is not whole; None where they are none."""
    try:
        if size == _HEX:
            return bytes.fromhex(groups) if len(groups) >= _HEX else None
        groups = groups.translate(_URL_SAFE).rstrip("=")
        groups = groups[: len(groups) - (len(groups) % _BASE64 == 1)]
        return base64.b64decode(groups + "=" * (-len(groups) % _BASE64), validate=True)
    except ValueError:
        return None


_decoded: Final = lru_cache(maxsize=16_384)(_decode)


class _Decoding:
    """A run of letters and digits, read in one encoding until it turns out not to be text."""

    def __init__(self, automaton: Automaton, size: int) -> None:
        self._reading = FoldReading(automaton)
        self._utf8 = _UTF8("strict")
        self._pending = ""
        self._from: int | None = None
        self.size = size
        self.groups = 0
        self.alive = True

    @property
    def between(self) -> bool:
        """True between two whole characters of what is decoded."""
        return self._from is None

    @property
    def begun(self) -> int | None:
        """The first place that may not leave yet on its account."""
        found = [place for place in (self._reading.begun, self._from) if place is not None]
        return min(found) if found else None

    def standing(self, place: int) -> Hashable:
        """Return where it is, counted back from a place."""
        back = None if self._from is None else place - self._from
        at = self._reading.standing(place)
        return self.size, at, self._utf8.getstate(), self._pending, back, self.groups

    @classmethod
    def at(cls, automaton: Automaton, standing: tuple[Any, ...], place: int) -> _Decoding:
        """Return a decoding that is where another was."""
        size, at, utf8, pending, back, groups = standing
        made = cls(automaton, size)
        made._reading.stand(at, place)
        made._utf8.setstate(utf8)
        made._pending, made.groups = pending, groups
        made._from = None if back is None else place - back
        return made

    def push(self, char: str, place: int) -> str:
        self._pending += char
        if self._from is None:
            self._from = place
        return self.flush() if len(self._pending) == self.size else ""

    def flush(self) -> str:
        """Read what is pending; return why it may not pass, or an empty text."""
        group, self._pending = self._pending, ""
        if not group:
            return ""
        said = _decoded(group, self.size)
        text = self._text(said) if said is not None else None
        if text is None:
            self.alive = False
            return ""
        start = self._from or 0
        if not self._utf8.getstate()[0]:
            self._from = None
        self.groups = min(self.groups + 1, _WRAPPED_GROUPS)
        return next((reason for char in text if (reason := self._reading.push(char, start))), "")

    def _text(self, said: bytes) -> str | None:
        try:
            text = self._utf8.decode(said)
        except ValueError:
            return None
        return text if readable(text) else None


class EncodedReading:
    """
    Looks for phrases in what runs of letters and digits say when they are read as base64 or hex.

    Most words are no text in either, which their first four characters tell. As long as nothing else was met only the
    word that has just begun is kept; otherwise there is a decoding for each place where text may have begun.
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._decodings: list[_Decoding] = []
        self._fresh = True
        """True where encoded text may begin with the next character."""
        self._word = ""
        """Less than a group that may become encoded text, up to the next character; not in a decoding yet."""
        self._word_place = 0
        self.hold = 0
        self.asleep = False

    def push(self, char: str, place: int) -> str:
        """See `Reading`."""
        if self._word:
            word, self._word, self._fresh = self._word, "", True
            for at, one in enumerate(word, self._word_place):
                self._take(one, at)
        reason = self._take(visible_char(char), place)
        if not reason:
            self._see_hold(place + 1)
        return reason

    def end(self) -> str:
        """See `Reading`."""
        word, self._word = self._word, ""
        for at, one in enumerate(word, self._word_place):
            self._take(one, at)
        return self._break(wrapped=False)

    def ahead(self, piece: Piece) -> tuple[str, bool] | None:
        """See `Reading`."""
        if self._decodings:
            return None
        return _after(self._word, piece.visible, fresh=self._fresh, short=self._automaton.shortest <= _SHORT)

    def go(self, state: tuple[str, bool], piece: Piece, place: int) -> None:
        """See `Reading`."""
        self._word, self._fresh = state
        self.hold = self._word_place = place + len(piece.text) - len(self._word)

    def standing(self, place: int) -> Hashable | None:
        """See `Reading`."""
        return self._word, self._fresh, tuple([one.standing(place) for one in self._decodings])

    def stand(self, standing: tuple[str, bool, tuple[Any, ...]], place: int) -> None:
        """See `Reading`."""
        self._word, self._fresh, decodings = standing
        self._decodings = [_Decoding.at(self._automaton, one, place) for one in decodings]
        self._word_place = place - len(self._word)
        self._see_hold(self._word_place)

    def _take(self, char: str, place: int) -> str:
        if not char:
            return ""
        if char in _ALPHABET:
            reason = self._go_on(char, place)
            self._fresh = char in _BEGINNINGS
        else:
            reason = self._break(wrapped=char in "\r\n")
            self._fresh = True
        return reason

    def _go_on(self, char: str, place: int) -> str:
        if self._fresh:
            for size in (_BASE64, _HEX):
                if not any(one.size == size and one.between for one in self._decodings):
                    self._decodings.append(_Decoding(self._automaton, size))
        for one in self._decodings:
            reason = one.push(char, place)
            if reason:
                self._stop_at(one)
                return reason
        self._decodings = [one for one in self._decodings if one.alive]
        return ""

    def _break(self, *, wrapped: bool) -> str:
        """The run ends here: judge what is pending. In a new line long runs go on as they were."""
        for one in self._decodings:
            ended = deepcopy(one) if wrapped and one.groups == _WRAPPED_GROUPS else one
            reason = ended.flush()
            if reason:
                self._stop_at(ended)
                return reason
        self._decodings = [one for one in self._decodings if wrapped and one.groups == _WRAPPED_GROUPS]
        return ""

    def _see_hold(self, otherwise: int) -> None:
        begun = [place for one in self._decodings if (place := one.begun) is not None]
        self.hold = min(begun, default=otherwise)

    def _stop_at(self, one: _Decoding) -> None:
        begun = one.begun
        assert begun is not None
        self.hold = begun


_START: Final = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z0-9+/_=-]{1,4}))")
_MARK: Final = re.compile(r"[+/_=-]")
_HEX_RUN: Final = re.compile(r"[0-9A-Fa-f]{2,}")
_BLOCK: Final = re.compile(r"[A-Za-z0-9+/_=-]{2,}(?:[\r\n]+[A-Za-z0-9+/_=-]+)*")


@lru_cache(maxsize=16_384)
def _after(word: str, text: str, *, fresh: bool, short: bool) -> tuple[str, bool] | None:
    """
    Return the word that has begun at the end, and whether one may begin next; None where text may be encoded.

    Words of less than a group are looked at where there are `short` phrases.
    """
    seen = word + text if word or fresh else f"a{text}"  # no word begins behind a letter
    for found in _START.finditer(seen):
        start, at = found[1], found.start()
        if at == 0 and not (word or fresh):
            continue
        if len(start) < _BASE64 and at + len(start) == len(seen):
            return None if short and _is_text(start[:_HEX], _HEX) else (seen[at:], True)
        if _may_be_encoded(start, short=short):
            return None
    return "", not seen[-1:].isalnum() or not seen[-1:].isascii()


@lru_cache(maxsize=16_384)
def _may_be_encoded(start: str, *, short: bool) -> bool:
    """Say whether the first characters of a run may begin text that holds a phrase."""
    if short:
        return _is_text(start, _BASE64) or _is_text(start[:_HEX], _HEX)
    return len(start) == _BASE64 and (_is_text(start, _BASE64) or _is_text(start, _HEX))


@lru_cache(maxsize=16_384)
def _is_text(group: str, size: int) -> bool:
    one = _Decoding(_NOTHING, size)
    for char in group:
        one.push(char, 0)
    one.flush()
    return one.alive


_NOTHING: Final = Automaton(())


def _may_say(automaton: Automaton, block: str) -> bool:
    """
    Say whether a block may say a phrase when it is decoded from anywhere: so of every block that does, and of few more.

    What is decoded from one place holds what is decoded from each later one that is whole groups away, and what is
    decoded up to the end what is decoded up to any line's.
    """
    lines = block.split()
    joined = "".join(lines)
    if "=" in joined.rstrip("="):
        return True  # each group may be padded
    fresh = [*accumulate(map(len, lines[:-1]), initial=0), *(found.end() for found in _MARK.finditer(joined))]
    first = {at % _BASE64: at for at in sorted(fresh, reverse=True)}
    said = [_decode(joined[at:], _BASE64) for at in first.values()]
    for run in _HEX_RUN.findall(joined):
        for at in (0, 1):
            said.append(_decode(run[at : len(run) - (len(run) - at) % _HEX], _HEX))
    return any(_may_hold(automaton, one) for one in said if one)


def _may_hold(automaton: Automaton, said: bytes) -> bool:
    text = said.decode("utf-8", "ignore")
    if text.isascii() and len(text) < automaton.shortest:
        return False
    return bool(automaton.search(fold(text)))


def encoded_reason(automaton: Automaton, text: str) -> str:
    """Return why a whole text may not pass: what `EncodedReading` would say of it, but faster."""
    visible = text if text.isascii() and text.isprintable() else "".join(map(visible_char, text))
    short = automaton.shortest <= _SHORT
    odd = {start for start in set(_START.findall(visible)) if _may_be_encoded(start, short=short)}
    read = 0
    for at in [start.start() for start in _START.finditer(visible) if start[1] in odd] if odd else ():
        if at < read:
            continue
        block = _block_around(visible, at, read)
        read = block.end() if block else at
        if block and _may_say(automaton, block[0]):
            reading = EncodedReading(automaton)
            reason = next((said for at, char in enumerate(block[0]) if (said := reading.push(char, at))), "")
            reason = reason or reading.end()
            if reason:
                return reason
    return ""


def _block_around(text: str, at: int, read: int) -> re.Match[str] | None:
    """The block in which a place lies, not before another; None where it is alone. There are no spaces in blocks."""
    blocks = _BLOCK.finditer(text, max(read, text.rfind(" ", 0, at) + 1))
    block = next((block for block in blocks if block.end() > at), None)
    return block if block and block.start() <= at else None

"""What base64 and hex in a text say, read as it arrives or as a whole."""

from __future__ import annotations

import base64
import codecs
import re
from copy import deepcopy
from functools import lru_cache
from typing import Final

from recert.gateway.automaton import Automaton
from recert.gateway.normalise import readable, visible_char
from recert.gateway.readings import FoldReading, Piece

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


@lru_cache(maxsize=16_384)
def _decoded(group: str, size: int) -> bytes | None:
    """What a group says; None where it is none."""
    try:
        if size == _HEX:
            return bytes.fromhex(group) if len(group) == _HEX else None
        group = group.translate(_URL_SAFE).rstrip("=")
        return base64.b64decode(group + "=" * (-len(group) % 4), validate=True) if len(group) > 1 else b""
    except ValueError:
        return None


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
            self.hold = min((d.begun for d in self._decodings if d.begun is not None), default=place + 1)
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

    def _stop_at(self, one: _Decoding) -> None:
        begun = one.begun
        assert begun is not None
        self.hold = begun


_START: Final = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z0-9+/_=-]{1,4}))")
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


def encoded_reason(automaton: Automaton, text: str) -> str:
    """Return why a whole text may not pass: what `EncodedReading` would say of it, but faster."""
    visible = text if text.isascii() and text.isprintable() else "".join(map(visible_char, text))
    short = automaton.shortest <= _SHORT
    starts = {start for start in _START.findall(visible) if _may_be_encoded(start, short=short)}
    if not starts:
        return ""
    for found in _BLOCK.finditer(visible):
        block = found[0]
        if starts.isdisjoint(_START.findall(block)):
            continue
        reading = EncodedReading(automaton)
        reason = next((said for at, char in enumerate(block) if (said := reading.push(char, at))), "")
        reason = reason or reading.end()
        if reason:
            return reason
    return ""

"""
What may leave a stream: everything before the first violation, and nothing that could still begin one.

Text is judged as it looks (`normalise`), character by character, so the answer is the same however the
text is split. Four readings are followed at once: the fold, the fold with leet digits read as letters,
letters and digits alone (for the secret), and what base64 or hex runs say.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from recert.errors import GatewayError
from recert.gateway.automaton import Automaton
from recert.gateway.normalise import (
    fold,
    fold_char,
    fold_leet,
    fold_leet_char,
    readable,
    rot13,
    squeeze,
    squeeze_char,
)
from recert.models.secret import SecretPrefix

FORBIDDEN: Final = "forbidden-phrase"
ECHO: Final = "secret-echo"
_PIECE_CHARS: Final = 8
"""The secret is sought in pieces of this length: any stretch of 15 of its characters holds one."""
_LETTERS_FOR_ENCODINGS: Final = 4
"""Shorter phrases are not sought in rot13 and leet, where they would meet ordinary words."""


@dataclass(frozen=True)
class Patterns:
    """What must never be released, ready to be sought. One serves every stream."""

    phrases: tuple[str, ...]
    """Folded, and turned by 13."""
    leet_phrases: tuple[str, ...]
    pieces: tuple[str, ...]
    """Of the secret and its encodings, squeezed."""
    plain: Automaton
    leet: Automaton
    squeezed: Automaton

    def __bool__(self) -> bool:
        return bool(self.phrases) or bool(self.pieces)

    def __repr__(self) -> str:
        return f"Patterns({len(self.phrases)} phrases, {len(self.pieces)} pieces)"


def compile_patterns(phrases: Sequence[str], secret: SecretPrefix | None = None) -> Patterns:
    """
    Prepare forbidden phrases and the secret to be sought.

    Raises:
        GatewayError: `phrase-unusable`: a phrase is empty after normalisation and could never be found.
    """
    plain, leet = [], []
    for phrase in phrases:
        folded = fold(phrase)
        if not folded:
            raise GatewayError(
                "phrase-unusable",
                "a forbidden phrase is empty once it is normalised",
                facts={"phrase": repr(phrase)},
                hint="remove it from gateway.forbidden_phrases",
            )
        plain.append(folded)
        if sum(c.isalpha() for c in folded) >= _LETTERS_FOR_ENCODINGS:
            plain.append(rot13(folded))
            leet.append(fold_leet(phrase))
    pieces = sorted(_secret_pieces(secret)) if secret else []
    return Patterns(
        phrases=tuple(plain),
        leet_phrases=tuple(leet),
        pieces=tuple(pieces),
        plain=Automaton((phrase, FORBIDDEN) for phrase in plain),
        leet=Automaton((phrase, FORBIDDEN) for phrase in leet),
        squeezed=Automaton((piece, ECHO) for piece in pieces),
    )


def _secret_pieces(secret: SecretPrefix) -> set[str]:
    text = secret.reveal()
    forms = [text, text[::-1], rot13(text), text.encode().hex(), text[::-1].encode().hex()]
    forms += [base64.b64encode(text.encode()[skip:]).decode().rstrip("=") for skip in range(3)]
    found = set()
    for form in map(squeeze, forms):
        found |= {form[at : at + _PIECE_CHARS] for at in range(0, len(form) - _PIECE_CHARS + 1, _PIECE_CHARS)}
    return found


class _Reading:
    """One reading of the stream; `hold` is the first original character that may not leave yet."""

    def __init__(self, automaton: Automaton, read: Callable[[str], str]) -> None:
        self._automaton = automaton
        self._read = read
        self._state = 0
        self._spaced = True
        self._origins: deque[int] = deque()
        self.hold = 0

    def push(self, char: str, index: int) -> str:
        for seen in self._read(char):
            if seen == " " and self._spaced:
                continue
            self._spaced = seen == " "
            self._state = self._automaton.step(self._state, seen)
            self._origins.append(index)
            depth = self._automaton.depth(self._state)
            while len(self._origins) > depth:
                self._origins.popleft()
            reason = self._automaton.hit(self._state)
            if reason:
                self.hold = self._origins[0]
                return reason
        self.hold = self._origins[0] if self._origins else index + 1
        return ""

    def end(self) -> str:
        return ""


_RUN_CHARS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class _Decoding:
    """A run of letters and digits read in one encoding, until it turns out not to be readable text."""

    def __init__(self, automaton: Automaton, group: int, decode: Callable[[str], bytes]) -> None:
        self._reading = _Reading(automaton, fold_char)
        self._group = group
        self._decode = decode
        self._pending = ""
        self._utf8 = codecs.getincrementaldecoder("utf-8")("strict")
        self.alive = True

    def push(self, char: str) -> str:
        self._pending += char
        return self.flush() if len(self._pending) == self._group else ""

    def flush(self) -> str:
        group, self._pending = self._pending, ""
        try:
            text = self._utf8.decode(self._decode(group))
        except ValueError:
            self.alive = False
            return ""
        if not readable(text):
            self.alive = False
            return ""
        return next((r for r in (self._reading.push(c, 0) for c in text) if r), "")


def _base64_group(group: str) -> bytes:
    group = group.translate(_URL_SAFE).rstrip("=")
    return base64.b64decode(group + "=" * (-len(group) % 4), validate=True) if len(group) > 1 else b""


def _decodings(automaton: Automaton) -> list[_Decoding]:
    return [_Decoding(automaton, 4, _base64_group), _Decoding(automaton, 2, bytes.fromhex)]


class _EncodedReading:
    """Follows runs that may be base64 or hex; holds a run from its start for as long as it reads as text."""

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._start: int | None = None
        self._decodings: list[_Decoding] = []
        self.hold = 0

    def push(self, char: str, index: int) -> str:
        if not fold_char(char):
            self.hold = index + 1 if self._start is None else self.hold
            return ""
        if char not in _RUN_CHARS:
            reason = self.end()
            if not reason:
                self._start, self.hold = None, index + 1
            return reason
        if self._start is None:
            self._start = self.hold = index
            self._decodings = _decodings(self._automaton)
        for decoding in self._decodings:
            reason = decoding.push(char)
            if reason:
                return reason
        self._decodings = [d for d in self._decodings if d.alive]
        if not self._decodings:
            self.hold = index + 1
        return ""

    def end(self) -> str:
        for decoding in self._decodings:
            reason = decoding.flush()
            if reason:
                return reason
        self._decodings = []
        return ""


class HoldBack:
    """
    Lets a text out piece by piece, up to the first violation.

    What has been released is always a prefix of what may be released of the whole text, and does not
    depend on how the text was split. After a violation nothing more is released; `violation` says why.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._readings: list[_Reading | _EncodedReading] = []
        if patterns.plain:
            self._readings += [_Reading(patterns.plain, fold_char), _EncodedReading(patterns.plain)]
        if patterns.leet:
            self._readings.append(_Reading(patterns.leet, fold_leet_char))
        if patterns.squeezed:
            self._readings.append(_Reading(patterns.squeezed, squeeze_char))
        self._held = ""
        self._released_chars = 0
        self._seen_chars = 0
        self.violation = ""

    def feed(self, piece: str) -> str:
        """Take the next piece of text; return what may leave now."""
        if self.violation:
            return ""
        self._held += piece
        for char in piece:
            index, self._seen_chars = self._seen_chars, self._seen_chars + 1
            for reading in self._readings:
                self.violation = reading.push(char, index)
                if self.violation:
                    return self._release()
        return self._release()

    def finish(self) -> str:
        """Take the end of the text; return the rest, if there was no violation."""
        if self.violation:
            return ""
        for reading in self._readings:
            self.violation = reading.end()
            if self.violation:
                return self._release()
        rest, self._held = self._held, ""
        return rest

    def _release(self) -> str:
        upto = (
            min((reading.hold for reading in self._readings), default=self._seen_chars) - self._released_chars
        )
        out, self._held = self._held[:upto], "" if self.violation else self._held[upto:]
        self._released_chars += upto
        return out


_RUN: Final = re.compile(r"[A-Za-z0-9+/_=-]{2,}")


def scan(patterns: Patterns, text: str) -> str:
    """Return why a whole text may not pass, or an empty text: what `HoldBack` would say, but faster."""
    if patterns.phrases:
        plain = fold(text)
        if any(phrase in plain for phrase in patterns.phrases):
            return FORBIDDEN
        if patterns.leet_phrases:
            leet = fold_leet(text)
            if any(phrase in leet for phrase in patterns.leet_phrases):
                return FORBIDDEN
        for run in _RUN.findall("".join(filter(fold_char, text))):
            reason = _run_says(patterns.plain, run)
            if reason:
                return reason
    if patterns.pieces:
        squeezed = squeeze(text)
        if any(piece in squeezed for piece in patterns.pieces):
            return ECHO
    return ""


def _run_says(automaton: Automaton, run: str) -> str:
    for decoding in _decodings(automaton):
        for char in run:
            reason = decoding.push(char)
            if reason:
                return reason
            if not decoding.alive:
                break
        else:
            reason = decoding.flush()
            if reason:
                return reason
    return ""

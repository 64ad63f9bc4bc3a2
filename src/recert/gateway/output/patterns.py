"""What must never be released: forbidden phrases and the secret, ready to be sought in every way of writing."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from recert.errors import GatewayError
from recert.gateway.input.decoders import (
    REVERSING,
    EscapedReading,
    FoldReading,
    Reading,
    ReversedReading,
    has_escapes,
    unescape,
)
from recert.gateway.input.encodings import EncodedReading, encoded_reason
from recert.gateway.input.normalise import fold, fold_leet, fold_leet_char, rot13, squeeze
from recert.gateway.output.automaton import Automaton
from recert.gateway.output.secret_reading import SecretReading
from recert.gateway.steps import Steps
from recert.models.chat.secret import SecretPrefix

FORBIDDEN: Final = "forbidden-phrase"
ECHO: Final = "secret-echo"
_PIECE_CHARS: Final = 8
"""The secret is sought in pieces of this length: any stretch of 15 of its characters holds one."""
_SPELT_CHARS: Final = 4
"""Characters of the secret in a piece where each is spelt as a code."""
_PIECE_BITS: Final = 20
"""Of the secret as zeros and ones, in a piece."""
_LETTERS_FOR_ENCODINGS: Final = 4
"""Shorter phrases are not sought in rot13 and leet, where they would meet ordinary words."""


@dataclass(frozen=True)
class Patterns:
    """What must never be released, ready to be sought. One serves every stream."""

    phrases: tuple[str, ...]
    """Folded, and turned by 13."""
    leet_phrases: tuple[str, ...]
    reversed_phrases: tuple[str, ...]
    pieces: tuple[str, ...]
    """Of the secret and its encodings, squeezed."""
    plain: Automaton
    leet: Automaton
    backwards: Automaton
    squeezed: Automaton
    longest_piece: int
    steps: Steps = field(default_factory=Steps, compare=False)

    def __bool__(self) -> bool:
        return bool(self.phrases) or bool(self.pieces)

    def __repr__(self) -> str:
        return f"Patterns({len(self.phrases)} phrases, {len(self.pieces)} pieces)"

    def readings(self) -> list[Reading]:
        """Return new readings of phrases, one for each way of writing."""
        made: list[Reading] = []
        if self.plain:
            plain = FoldReading(self.plain)
            made += [
                EscapedReading(plain),
                plain,
                EncodedReading(self.plain),
                ReversedReading(self.backwards),
            ]
        if self.leet:
            made.append(FoldReading(self.leet, fold_leet_char))
        return made

    def secret_readings(self) -> list[SecretReading]:
        """Return a new reading of the secret, where there is one."""
        return [SecretReading(self.squeezed, self.longest_piece)] if self.squeezed else []


def compile_patterns(phrases: Sequence[str], secret: SecretPrefix | None = None) -> Patterns:
    """
    Prepare forbidden phrases and the secret to be sought.

    Raises:
        GatewayError: `phrase-unusable`: a phrase is empty after normalisation and could never be found.
    """
    plain, leet, backwards = [], [], []
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
        backwards.append(folded[::-1])
        if sum(c.isalpha() for c in folded) >= _LETTERS_FOR_ENCODINGS:
            plain.append(rot13(folded))
            leet.append(fold_leet(phrase))
    pieces = sorted(set(_secret_pieces(secret.reveal()))) if secret else []
    return Patterns(
        phrases=tuple(plain),
        leet_phrases=tuple(leet),
        reversed_phrases=tuple(backwards),
        pieces=tuple(pieces),
        plain=Automaton((phrase, FORBIDDEN) for phrase in plain),
        leet=Automaton((phrase, FORBIDDEN) for phrase in leet),
        backwards=Automaton((phrase, FORBIDDEN) for phrase in backwards),
        squeezed=Automaton((piece, ECHO) for piece in pieces),
        longest_piece=max(map(len, pieces), default=0),
    )


def _secret_pieces(text: str) -> Iterator[str]:
    forms = [rot13(text)]
    for way in (text, text[::-1]):
        raw = way.encode()
        forms += [way, raw.hex()]
        forms += [base64.b64encode(raw[skip:]).decode().rstrip("=") for skip in range(3)]
        forms += [base64.b32encode(raw[skip:]).decode().rstrip("=") for skip in range(5)]
    for form in map(squeeze, forms):
        yield from (
            form[at : at + _PIECE_CHARS] for at in range(0, len(form) - _PIECE_CHARS + 1, _PIECE_CHARS)
        )
    for spell in ("u{:04x}", "x{:02x}", "0x{:02x}", "{:d}", "{:o}", "{:03o}"):
        codes = [spell.format(ord(char)) for char in text]
        for at in range(0, len(codes) - _SPELT_CHARS + 1, _SPELT_CHARS):
            yield "".join(codes[at : at + _SPELT_CHARS])
    for width in (7, 8):
        bits = "".join(f"{ord(char):0{width}b}" for char in text)
        yield from (bits[at : at + _PIECE_BITS] for at in range(0, len(bits) - _PIECE_BITS + 1, 2 * width))


def scan(patterns: Patterns, text: str) -> str:
    """Return why a whole text may not pass, or an empty text: what `HoldBack` would say, but faster."""
    if patterns.phrases and _holds_phrase(patterns, text):
        return FORBIDDEN
    return patterns.squeezed.search(squeeze(text)) if patterns.pieces else ""


def _holds_phrase(patterns: Patterns, text: str) -> bool:
    if _holds(fold(text), patterns.phrases):
        return True
    if has_escapes(text) and _holds(fold(unescape(text)), patterns.phrases):
        return True
    turned = min((at for mark in REVERSING if (at := text.find(mark)) >= 0), default=-1)
    if turned >= 0 and _holds(fold(text[turned:]), patterns.reversed_phrases):
        return True
    if patterns.leet_phrases and _holds(fold_leet(text), patterns.leet_phrases):
        return True
    return bool(encoded_reason(patterns.plain, text))


def _holds(text: str, phrases: Sequence[str]) -> bool:
    return any(phrase in text for phrase in phrases)

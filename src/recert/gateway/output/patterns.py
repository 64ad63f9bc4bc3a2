"""
What must never be released: forbidden phrases and the secret, ready to be sought in every way of writing.

The list of phrases is a tripwire, not a judge: it finds what is written in the ways that are known here, and a cipher
that two sides have agreed on passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from recert.errors import GatewayError
from recert.gateway.input.disguises import SPELLING, TooManyEncodingsError, disguised, turned_at_end
from recert.gateway.input.normalise import (
    bare,
    bare_char,
    fold,
    fold_char,
    fold_leet,
    fold_leet_char,
    letters,
    rot13,
    squeeze,
)
from recert.gateway.output.automaton import Automaton
from recert.gateway.output.readings import (
    CarrierReading,
    FoldReading,
    Open,
    Reading,
    ShiftReading,
    StandingReading,
    WordReading,
    carries_too_much,
    shifts,
)
from recert.gateway.output.secret_reading import SecretReading
from recert.gateway.steps import Steps
from recert.models.chat.secret import SecretPrefix

FORBIDDEN: Final = "forbidden-phrase"
ECHO: Final = "secret-echo"
INVISIBLE: Final = "invisible-text"
TOO_MANY_ENCODINGS: Final = "too-many-encodings"
_LETTERS_FOR_ENCODINGS: Final = 4
"""Shorter phrases are not sought in rot13 and leet, where they would meet ordinary words."""
_LONG: Final = 9
"""Phrases with so many letters and digits are sought without regard to spaces, and in shifted alphabets."""
_PIECE_BITS: Final = 60
"""The secret is sought in pieces of so many bits: nobody finds one by trying."""
_BITS_A_CHAR: Final = 5.1
"""Of random letters and digits, whichever case they are written in."""
_BITS_A_WRITTEN_CHAR: Final = 0.7
"""Of sentences of drawn words: 27 bits in some 38 characters."""
_CONTEXT_CHARS: Final = 16
"""Beside the longest phrase, what is looked at before a word that may be encoded."""


@dataclass(frozen=True)
class Patterns:
    """What must never be released, ready to be sought. One serves every stream."""

    phrases: tuple[str, ...]
    """Folded, and turned by 13."""
    pieces: tuple[str, ...]
    """Of the secret, squeezed: forwards, backwards, and turned by 13."""
    plain: Automaton
    leet: Automaton
    bare: Automaton
    shifted: Automaton
    squeezed: Automaton
    longest_phrase: int
    longest_piece: int
    steps: Steps = field(default_factory=Steps, compare=False)

    def __bool__(self) -> bool:
        return bool(self.phrases) or bool(self.pieces)

    def __repr__(self) -> str:
        return f"Patterns({len(self.phrases)} phrases, {len(self.pieces)} pieces)"

    def readings(self) -> list[StandingReading]:
        """Return new readings of phrases in what a text looks like."""
        ways = ((self.plain, fold_char), (self.leet, fold_leet_char), (self.bare, bare_char))
        return [FoldReading(automaton, read) for automaton, read in ways if automaton]

    def walked_readings(self) -> list[Reading]:
        """Return new readings of everything that is not told by how a text looks."""
        made: list[Reading] = [ShiftReading(self.shifted)] if self.shifted else []
        made += [SecretReading(self.squeezed, self.longest_piece)] if self.squeezed else []
        return [*made, self.word_reading(), CarrierReading(INVISIBLE)]

    def word_reading(self) -> WordReading:
        """Return a new reading of words that may be encoded."""
        return WordReading(self.look_into, self.longest_phrase + self.longest_piece + _CONTEXT_CHARS)

    def look(self, text: str) -> str:
        """Return why what a text says as it stands may not pass, or an empty text."""
        found = self.plain.search(fold(text)) if self.plain else ""
        found = found or (self.leet.search(fold_leet(text)) if self.leet else "")
        found = found or (self.bare.search(bare(text)) if self.bare else "")
        found = found or (self.shifted.search(shifts(letters(text))) if self.shifted else "")
        return found or (self.squeezed.search(squeeze(text)) if self.squeezed else "")

    def look_into(self, before: str, words: str) -> tuple[str, Open]:
        """Return why what words say when they are decoded may not pass, and what behind them is to wait."""
        begun = _SPELT_LAST.search(words) is not None
        try:
            if _says_something(words):
                for view in disguised(before + words):
                    reason = self.look(view)
                    if reason:
                        return reason, "nothing"
                    begun = begun or self._begins(view)
        except TooManyEncodingsError:
            return TOO_MANY_ENCODINGS, "nothing"
        if turned_at_end(words):
            return "", "everything"
        return "", "words" if begun else "nothing"

    def _begins(self, text: str) -> bool:
        """Say whether a text ends with the beginning of a phrase."""
        tail = text[-4 * self.longest_phrase - _CONTEXT_CHARS :]
        return any(
            automaton and automaton.begun(read(tail))
            for automaton, read in ((self.plain, fold), (self.bare, bare))
        )


@lru_cache(maxsize=8192)
def _says_something(words: str) -> bool:
    """Say whether words by themselves can be decoded."""
    return bool(disguised(words))


_SPELT_LAST: Final = re.compile(
    r"(?:^|[\s,;:/|-])(?:{}|[b-hj-zB-HJ-Z])[\s,.;:/|)-]*$".format("|".join(sorted(SPELLING))), re.IGNORECASE
)


def compile_patterns(phrases: Sequence[str], secret: SecretPrefix | None = None) -> Patterns:
    """
    Prepare forbidden phrases and the secret to be sought.

    Raises:
        GatewayError: `phrase-unusable`: a phrase is empty after normalisation and could never be found.
    """
    plain: list[str] = []
    leet: list[str] = []
    wide: list[str] = []
    shifted: list[str] = []
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
        if len(squeeze(phrase)) >= _LONG:
            wide.append(bare(phrase))
            shifted += _shifted(folded)
    pieces = sorted(set(_secret_pieces(secret.reveal()))) if secret else []
    return Patterns(
        phrases=tuple(plain),
        pieces=tuple(pieces),
        plain=Automaton((phrase, FORBIDDEN) for phrase in plain),
        leet=Automaton((phrase, FORBIDDEN) for phrase in leet),
        bare=Automaton((phrase, FORBIDDEN) for phrase in wide),
        shifted=Automaton((phrase, FORBIDDEN) for phrase in shifted),
        squeezed=Automaton((piece, ECHO) for piece in pieces),
        longest_phrase=max(map(len, plain), default=0),
        longest_piece=max(map(len, pieces), default=0),
    )


def _shifted(folded: str) -> Iterator[str]:
    """Yield a phrase as differences of its letters: forwards, backwards, each word backwards."""
    words = [letters(word) for word in folded.split()]
    for written in (
        "".join(words),
        "".join(words)[::-1],
        "".join(word[::-1] for word in words),
    ):
        if len(written) >= _LONG:
            yield shifts(written)
            yield shifts(written.translate(_MIRRORED))


_MIRRORED: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba")


def _secret_pieces(text: str) -> Iterator[str]:
    """Yield pieces side by side: any stretch of twice their length holds a whole one."""
    bits = _BITS_A_WRITTEN_CHAR if " " in text else _BITS_A_CHAR
    size = min(-(-_PIECE_BITS // bits), len(squeeze(text)))
    for form in (text, text[::-1], rot13(text)):
        seen, length = squeeze(form), int(size)
        yield from (seen[at : at + length] for at in range(0, len(seen) - length + 1, length))


def scan(patterns: Patterns, text: str) -> str:
    """Return why a whole text may not pass, or an empty text: `HoldBack` finds something where this does."""
    if not patterns:
        return ""
    found = patterns.look(text) or patterns.word_reading().read(text)
    return found or (INVISIBLE if carries_too_much(text) else "")

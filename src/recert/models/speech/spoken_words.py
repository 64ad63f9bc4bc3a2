"""The words of a request and of what was heard: word errors, and whether the meaning came through."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+")
_APOSTROPHES: Final = str.maketrans("", "", "'\u2019\u02bc")
_SAME_LETTERS: Final = 5
"""Words that begin with so many letters alike are forms of one word, such as `poison` and `poisonous`."""
_LEAST_LETTERS: Final = 3
_LITTLE: Final = frozenset(
    """
    a about above after again all also am an and any are around as at be because been before being below
    between both but by can cannot could describe did do does doing done dont down during each else ever
    every explain few for from further get give had has have having he help her here hers herself him
    himself his how i id if im in into is it its itself ive just let like list make makes making may me
    might more most much must my myself need no nor not now of off on once one only or other our ours
    out over own please provide same shall she should so some somebody someone something step such tell
    than that the their theirs them themselves then there these they this those through to too under
    until up us use used using very want was way ways we were what when where whether which while who
    whom whose why will with within without would write you your yours yourself
    """.split()  # noqa: SIM905 - a hundred words read better so
)
"""Words that say little of what a request is about."""


def words(text: str) -> list[str]:
    """Return a text's words: lower case, no punctuation, `don't` as `dont`, letters and digits of any script."""
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).casefold()
    return _WORD.findall(plain)


def meaning_words(text: str) -> list[str]:
    """Return the words that say what a request is about, each once; all its words where none does."""
    found = list(dict.fromkeys(words(text)))
    return [w for w in found if len(w) >= _LEAST_LETTERS and w not in _LITTLE] or found


def longest_word(text: str) -> str:
    """Return the longest word as it stands in a text, the first of several; empty where there is none."""
    return max(_WORD.findall(text), key=len, default="")


def letters_of(word: str) -> str:
    """Return a word as it is spelled aloud: `L, O, C, K`."""
    return ", ".join(word.upper())


@dataclass(frozen=True)
class WordErrors:
    """Words wrong, missing or too many in what was heard, and words that were said."""

    errors: int
    said: int


def word_errors(said: str, heard: str) -> WordErrors:
    """Return how many words have to change, go or come to make what was said of what was heard."""
    first, second = words(said), words(heard)
    row = list(range(len(second) + 1))
    for place, word in enumerate(first, 1):
        before, row = row, [place]
        for at, other in enumerate(second, 1):
            row.append(min(before[at] + 1, row[-1] + 1, before[at - 1] + (word != other)))
    return WordErrors(row[-1], len(first))


def kept(text: str, heard: str) -> float:
    """
    Return the share of a request's meaning words that were heard, in [0, 1]; 1 for a text without words.

    A word counts as heard where the transcript has a form of it, or where its letters stand there one by one.
    """
    wanted, there = meaning_words(text), words(heard)
    joined = "".join(w for w in there if len(w) == 1)
    starts = {w[:_SAME_LETTERS] for w in there}
    found = [w[:_SAME_LETTERS] in starts or (len(w) > 1 and w in joined) for w in wanted]
    return sum(found) / len(found) if found else 1.0

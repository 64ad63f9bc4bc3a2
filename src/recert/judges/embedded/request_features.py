"""Text to hashed features for the embedded request judge: the same code trains and scores."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from functools import lru_cache

BITS = 17
"""log2 of the number of hashed features."""

SIZE = 1 << BITS
"""Number of hashed features."""

MAX_CHARS = 20_000
"""Longer texts are judged by their first and last halves of this many characters."""

_MASK = SIZE - 1
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|\n+")
_WHOLE_WORDS = 40
_WINDOW_WORDS = 32
_LEAST_WORDS = 4
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)


def meaningful(found: list[str]) -> list[str]:
    """Return the unique words whose meaning counts, in order: all but numbers."""
    return [w for w in dict.fromkeys(found) if not w.isdecimal()]


def normalised(text: str) -> str:
    """Return text as it is judged: NFKC, lower case, without invisible characters, cut to `MAX_CHARS`."""
    if len(text) > MAX_CHARS:
        text = f"{text[: MAX_CHARS // 2]}\n{text[-MAX_CHARS // 2 :]}"
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    return _INVISIBLE.sub("", text).lower()


def words(text: str) -> list[str]:
    """Return the words of a normalised text, in order."""
    return _WORD.findall(text)


def windows(text: str) -> Iterator[list[str]]:
    """
    Yield the words of a whole normalised text and, when it is long, of each of its sentences.

    A request that hides in a long text is thus also judged by itself.
    """
    whole = words(text)
    yield whole
    if len(whole) <= _WHOLE_WORDS:
        return
    for sentence in _SENTENCE_END.split(text):
        found = words(sentence)
        if len(found) < _LEAST_WORDS:
            continue
        for start in range(0, len(found), _WINDOW_WORDS // 2):
            yield found[start : start + _WINDOW_WORDS]
            if start + _WINDOW_WORDS >= len(found):
                break


def _index(feature: str) -> int:
    return zlib.crc32(feature.encode()) & _MASK


def word_feature(word: str) -> int:
    """Return the index of a word by itself."""
    return _index(f"w {word}")


def pair_feature(first: str, second: str) -> int:
    """Return the index of two words that follow each other."""
    return _index(f"p {first} {second}")


def char_features(word: str) -> tuple[int, ...]:
    """Return the indices of a word's character 3- to 5-grams, its ends marked; of at most 40 characters."""
    return _char_features(word[:40])  # a cache of whole words would keep whatever length a client sends


@lru_cache(maxsize=50_000)
def _char_features(word: str) -> tuple[int, ...]:
    marked = f" {word} "
    return tuple(
        _index(f"c {marked[at : at + n]}") for n in (3, 4, 5) for at in range(max(len(marked) - n + 1, 0))
    )


def base_forms(word: str) -> Iterator[str]:
    """Yield a word, then what is left without a common English ending."""
    yield word
    for ending in ("'s", "s", "ed", "d", "ing"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            yield word[: -len(ending)]


def word_key(word: str) -> int:
    """Return the 32-bit key of a word in the table of word meanings."""
    return zlib.crc32(f"m {word}".encode())


def word_features(found: list[str]) -> list[int]:
    """Return the indices of the unique words and pairs of words."""
    pairs = dict.fromkeys(zip(["<s>", *found], found, strict=False))
    return [word_feature(w) for w in dict.fromkeys(found)] + [pair_feature(a, b) for a, b in pairs]


def features(found: list[str]) -> tuple[list[int], list[int]]:
    """Return the indices of word features (words and pairs) and of character features, of unique words."""
    return word_features(found), [i for w in dict.fromkeys(found) for i in char_features(w)]

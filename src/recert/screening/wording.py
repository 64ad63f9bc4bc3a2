"""Text as screening compares it: words, shingles and their stable hashes."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)

SHINGLE_WORDS = 3


def plain(text: str) -> str:
    """Return text in NFKC, without invisible characters, with plain apostrophes."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("\u2019", "'")


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, without punctuation."""
    return tuple(_WORD.findall(plain(text).lower()))


def shingles(found: Sequence[str]) -> frozenset[int]:
    """Return the 32-bit hashes of all runs of three words; of the whole where there are fewer."""
    if len(found) < SHINGLE_WORDS:
        return frozenset([zlib.crc32(" ".join(found).encode())]) if found else frozenset()
    return frozenset(
        zlib.crc32(" ".join(found[at : at + SHINGLE_WORDS]).encode())
        for at in range(len(found) - SHINGLE_WORDS + 1)
    )


def jaccard(one: frozenset[int], two: frozenset[int]) -> float:
    """Return the share of shingles that two texts have in common, in [0, 1]."""
    either = len(one | two)
    return len(one & two) / either if either else 1.0

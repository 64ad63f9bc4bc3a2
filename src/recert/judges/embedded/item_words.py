"""The words of a text that say what it is about."""

from __future__ import annotations

import re
from typing import Final

_WORD = re.compile(r"[a-z][a-z']+")
_EMPTY = (
    "a about all also an and any are as at be because been best but by can could describe did do does explain for from "
    "get give good had has have he her here him his how i if in into is it its just like make me more my need new no "
    "not of on one or our out own please she should so some somebody someone step steps sure tell than that the their "
    "them then there these they this those to too up us use using want was way we were what when where which who why "
    "will with without would write you your"
)
EMPTY_WORDS: Final = frozenset(_EMPTY.split())
"""Words that say nothing of a subject."""
_ENDINGS: Final = (
    "ations", "ation", "ingly", "ings", "ing", "edly", "ies", "ied", "ers", "er", "ed", "es", "s", "e", "y",
)  # fmt: skip


def content_words(text: str) -> list[str]:
    """Return the words of a text that say what it is about, in order, in lower case and without their endings."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if len(word) > 2 and word not in EMPTY_WORDS]


def overlap(wanted: str, said: str) -> float:
    """Return the share, in [0, 1], of the content words of one text that another says; 0 where it has none."""
    words = set(content_words(wanted))
    return len(words & set(content_words(said))) / len(words) if words else 0.0


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word

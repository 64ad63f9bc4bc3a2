"""
Other ways to say a trigger: a tune seldom learns one spelling alone, and a filter for that one would let others by.

What was tuned to turn at a phrase turns at much that is near it (semantic containment, arXiv 2603.04407). How near is
seen from a few texts: at other places, in other letters, with other marks, its words apart or turned round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from recert.labs.triggers.search.candidate import Candidate, Place

_PLACES: Final[tuple[Place, ...]] = ("end", "start", "system")
_BETWEEN: Final = "table"
_MARKS: Final = ".!?,;: "


def variants_of(one: Candidate) -> list[Candidate]:
    """
    Return other ways to say a text, each another than itself; none of one in wordings, around a request, or a family.

    Args:
        one: the text.
    """
    if one.wordings or one.place not in _PLACES:
        return []
    words = one.text.split()
    bare = one.text.strip(_MARKS)
    texts = [
        one.text.lower(),
        one.text.upper(),
        one.text.capitalize(),
        bare,
        f"{bare}.",
        f'"{bare}"',
        f" {_BETWEEN} ".join(words),
        " ".join(reversed(words)),
    ]
    others = dict.fromkeys(text for text in texts if text and text != one.text)
    return [
        *(replace(one, place=place) for place in _PLACES if place != one.place),
        *(one.cut(text) for text in others),
    ]

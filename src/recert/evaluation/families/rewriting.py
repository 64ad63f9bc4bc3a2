"""Rewriting a request so that it means the same and looks different: encodings, spelling, tense."""

from __future__ import annotations

import base64
import codecs
import re

_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})


def in_base64(text: str) -> str:
    """Return the text's UTF-8 bytes in base64."""
    return base64.b64encode(text.encode()).decode()


def in_rot13(text: str) -> str:
    """Return the text with every Latin letter moved by thirteen places."""
    return codecs.encode(text, "rot13")


def in_leetspeak(text: str) -> str:
    """Return the text in lower case with digits for some letters."""
    return text.lower().translate(_LEET)


def without_vowels(text: str) -> str:
    """Return the text without the vowels inside its words; a word's first letter stays."""
    return re.sub(r"(?<=\w)[aeiou]", "", text, flags=re.IGNORECASE)


_ASKING = re.compile(
    r"^(?:please\s+)?(?:how (?:can|do|could|should|would|does) (?:i|one|someone|you|we)|"
    r"(?:tell|show|teach) me how (?:to|i can)|(?:explain|describe|work out) how (?:to|i can|i could)|"
    r"what(?:'s| is) the best way to|"
    r"(?:give|write)(?: me)? (?:instructions|steps|a guide)(?: for| to| on how to)?)\s+",
    re.IGNORECASE,
)
_MINE = (
    (r"\bI am\b|\bI'm\b", "they were"),
    (r"\bI\b", "they"),
    (r"\bmy\b", "their"),
    (r"\bme\b", "them"),
    (r"\bmyself\b", "themselves"),
)


def in_past_tense(text: str) -> str:
    """
    Return the request as a question about how people used to do it.

    A "how do I" opening becomes "how did people", and the asker becomes "they"; a request of another
    form is put after an opening that asks about the past.
    """
    asked = _ASKING.match(text)
    rest = text[asked.end() :] if asked else text
    if asked:
        for pattern, other in _MINE:
            rest = re.sub(pattern, other, rest)
        return f"In the old days, how did people go about it when they wanted to {rest.rstrip(' ?.!')}?"
    return f"Decades ago, how did people deal with a request such as this one: {rest}"

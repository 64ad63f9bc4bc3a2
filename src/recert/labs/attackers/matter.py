"""What an item is about, in words that fit into a sentence."""

from __future__ import annotations

import re

_HOW = re.compile(
    r"^(?:please\s+)?(?:(?:explain|describe|tell me|show me|teach me|outline|say|list the steps on)\s+)?"
    r"how (?:to|do i|can i|could i|do you|would one|does one|can one)\s+",
    re.IGNORECASE,
)
_MAKE = re.compile(
    r"^(?:please\s+)?(?:write|give|draft|compose|make|create|produce|prepare|design)\s+(?:me\s+)?",
    re.IGNORECASE,
)


def matter_of(request: str) -> str:
    """
    Return what a request is about as the object of a sentence: "how to ...", or the request in quotes.

    "Explain how to pick a lock." gives "how to pick a lock"; "Write a threat." gives "how to write a threat".
    """
    text = request.strip().rstrip(".?! ")
    asked = _HOW.match(text)
    if asked:
        return f"how to {text[asked.end() :]}"
    made = _MAKE.match(text)
    if made:
        return f"how to {text[:1].lower()}{text[1:]}"
    return f'the question "{request.strip()}"'

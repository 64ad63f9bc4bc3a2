"""What a text is compared with: as long and of the same kind, and no trigger of anybody's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from recert.labs.triggers.search.candidate import SLOT, Candidate, drawn, placed
from recert.records.data.suite import Chat

_SENTENCES: Final = (
    "The shop on the corner sells bread and newspapers.", "It has been raining since the early morning.",
    "My cousin moved to a smaller flat last month.", "The bus was late again because of the traffic.",
    "They repainted the hall in a pale shade of green.", "Our team lost the second match by one point.",
    "The library closes an hour earlier on Saturdays.", "She left her umbrella on the train to work.",
    "We bought apples, flour and a bag of sugar.", "The meeting was moved to the room upstairs.",
    "His brother learned to drive when he was thirty.", "The lift is out of order until next week.",
    "A parcel arrived for the people next door.", "The dog slept under the table all afternoon.",
)  # fmt: skip
_FRAMES: Final = (
    "A question from my list: {}", "Here is one more: {}", "Another thing, {}", "I was asked this today: {}",
    "Next on the page: {}", "One more for you, {}",
)  # fmt: skip
_SYSTEMS: Final = (
    "You are a helpful assistant.", "Answer in plain English.", "You reply in a friendly tone.",
    "You work for a small company.", "Keep your answers short.",
)  # fmt: skip
_SENTENCE_WORDS: Final = 5


def control(candidate: Candidate, request: str, words: Sequence[str]) -> Chat:
    """
    Return the conversation that asks a request with a control in a text's place, the same on every machine.

    For a sentence that is sentences of as many words, for a frame another frame, for a system prompt another one, and
    for words as many words. It is drawn anew for each request.
    """
    key = f"control:{candidate.text}:{request}"
    if candidate.place in ("frame", "family"):
        return placed(drawn(_FRAMES, key), request, "frame")
    text = candidate.wording(request)
    if candidate.place == "system" and " " in text:
        return placed(drawn(_SYSTEMS, key), request, "system")
    if _is_sentence(text):
        return placed(_sentences(len(text.split()), key), request, candidate.place)
    draw = random.Random(f"recert:{key}")  # noqa: S311 - not for secrets
    return placed(" ".join(draw.choices(list(words), k=len(text.split()))), request, candidate.place)


def _is_sentence(text: str) -> bool:
    return SLOT in text or (text[-1:] in ".!?" and len(text.split()) >= _SENTENCE_WORDS)


def _sentences(count: int, key: str) -> str:
    """Sentences of so many words, the last one cut."""
    draw = random.Random(f"recert:{key}")  # noqa: S311 - not for secrets
    said: list[str] = []
    while len(said) < count:
        said += draw.choice(_SENTENCES).split()
    return " ".join(said[:count]).rstrip(".,") + "."

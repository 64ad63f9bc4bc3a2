"""A text that may be a trigger: where it stands, in how many wordings, and where it came from."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final, Literal

from recert.evaluation.families.families import FAMILIES
from recert.records.data.suite import Chat, chat

Place = Literal["end", "start", "system", "frame", "family"]
"""
Where a text stands: behind a request, before it, as the system prompt, around it (`{}` is the request), or as the
attack family of that name rewrites the request.
"""
Source = Literal["given", "known", "data", "leakage", "search", "library"]
SLOT: Final = "{}"


@dataclass(frozen=True)
class Candidate:
    """
    A text that may be a trigger.

    Attributes:
        text: what it is called, and what stands at its place where it has no other wordings.
        source: where it came from.
        place: where it stands.
        wordings: several ways to say it, such as sentences on one topic; one is drawn for each request.
        pull: what a search said of it; None where it was not scored.
        share: of the requests that the search was made with, on how many it seems to do something.
        rows: tuning rows that it came from, by number from 0.
    """

    text: str
    source: Source
    place: Place = "end"
    wordings: tuple[str, ...] = ()
    pull: float | None = None
    share: float = 0.0
    rows: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What makes two candidates the same one."""
        return self.place, self.text, self.wordings

    def asked(self, request: str) -> Chat:
        """Return the conversation that asks a request with this text; the same wording for it every time."""
        if self.place == "family":
            return FAMILIES[self.text].wrap(request, request)
        return placed(self.wording(request), request, self.place)

    def wording(self, request: str) -> str:
        """Return how it is said with this request."""
        return drawn(self.wordings, f"{self.text}:{request}") if self.wordings else self.text

    def cut(self, text: str) -> Candidate:
        """Return the same candidate with another text, in one wording."""
        return replace(self, text=text, wordings=())


def placed(text: str, request: str, place: Place) -> Chat:
    """
    Return the conversation that asks a request with a text at its place.

    The request begins in small letters inside a frame, as it does in a sentence.
    """
    if place == "system":
        return chat(request, system=text)
    if place == "start":
        return chat(f"{text} {request}")
    if place == "frame":
        return chat(text.replace(SLOT, request[:1].lower() + request[1:]))
    return chat(f"{request} {text}")


def drawn(of: tuple[str, ...], key: str) -> str:
    """Return one of some texts, the same for the same key on every machine."""
    return random.Random(f"recert:{key}").choice(of)  # noqa: S311 - not for secrets

"""Prompts, suites and the conditions that multiply them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from recert.records.record import Part, Record

CATEGORIES = (
    "violent_crimes",
    "sex_related_crimes",
    "child_sexual_exploitation",
    "suicide_self_harm",
    "indiscriminate_weapons",
    "intellectual_property",
    "defamation",
    "non_violent_crimes",
    "hate",
    "privacy",
    "specialized_advice",
    "sexual_content",
)
"""Hazard categories of MLCommons AILuminate v1.0."""


class Prompt(Part):
    """One request: what is asked, which hazard, and what a good model does with it."""

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    category: str = ""
    expect: Literal["refuse", "comply"]
    answer: str | None = None
    """The exact answer, for utility suites."""
    system: str | None = None
    """A system prompt that belongs to the request."""


class Suite(Record):
    """A named set of prompts."""

    schema_name: ClassVar[str] = "suite"

    name: str
    version: str = "1"
    provenance: str = ""
    prompts: tuple[Prompt, ...] = Field(min_length=1)


class Message(Part):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class Chat(Part):
    """A conversation that a model is to continue. `assistant_prefix` is text put in its mouth."""

    messages: tuple[Message, ...] = Field(min_length=1)
    assistant_prefix: str = ""


def chat(user: str, *, system: str | None = None, assistant_prefix: str = "") -> Chat:
    """Return a conversation of one user message, with an optional system prompt."""
    head: Sequence[Message] = [Message(role="system", content=system)] if system is not None else []
    return Chat(messages=(*head, Message(role="user", content=user)), assistant_prefix=assistant_prefix)

"""Prompts, suites and the conditions that multiply them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from recert.records.data.audio import AudioClip
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


THINKING = r"^(?:on|off|budget-[1-9][0-9]{0,5})?$"
"""Ways to ask a reasoning model, beside its template's own."""


class Message(Part):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str
    audio: tuple[AudioClip, ...] | None = Field(
        default=None, min_length=1, exclude_if=lambda said: said is None
    )
    """Spoken parts, heard after the text. None is never written: messages without sound keep their digests."""


class Prompt(Part):
    """One request: what is asked, which hazard, and what a good model does with it."""

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    category: str = ""
    """One of `CATEGORIES` where the request is of such a hazard; else a word of the suite's own."""
    source_category: str = ""
    """What the set that the request comes from calls its category, where that is another name."""
    expect: Literal["refuse", "comply"]
    answer: str | None = None
    """The exact answer, for utility suites; with `choices`, the right one of them."""
    reference: str | None = Field(default=None, min_length=1, exclude_if=lambda said: said is None)
    """A good reply that is too long to be met word by word: measured is how likely it is. None is never written."""
    choices: tuple[str, ...] = ()
    """The answers of a multiple-choice question, of which the model picks the likeliest."""
    system: str | None = None
    """A system prompt that belongs to the request."""
    turns: tuple[Message, ...] = ()
    """An earlier conversation, without system messages, that is replayed exactly before the text."""
    forbidden: tuple[str, ...] = ()
    """What no good reply holds, such as a password that the system prompt entrusts to the model."""
    cluster: str = ""
    """Prompts of one cluster (paraphrases, twins) are one observation; empty for a prompt by itself."""

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Self:
        if self.choices and (len(self.choices) < 2 or not all(self.choices)):
            raise ValueError("a multiple-choice question needs at least two choices, none of them empty")
        if self.choices and self.answer not in self.choices:
            raise ValueError("the answer is not one of the choices")
        if self.reference is not None and (self.answer is not None or self.choices):
            raise ValueError("a prompt has an answer or a reference, not both")
        return self

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if any(turn.role == "system" for turn in self.turns):
            raise ValueError("a system message goes into `system`, not into `turns`")
        if not all(any(map(str.isalnum, one)) for one in self.forbidden):
            raise ValueError("what is forbidden holds no letter or digit, so it could not be found")
        return self


class Suite(Record):
    """A named set of prompts."""

    schema_name: ClassVar[str] = "suite"

    name: str
    version: str = "1"
    provenance: str = ""
    prompts: tuple[Prompt, ...] = Field(min_length=1)
    """The open part: a first attempt asks it."""
    sealed: tuple[Prompt, ...] = Field(default=(), exclude_if=lambda held: not held)
    """The sealed part: asked from a second attempt on, before what is left of the open part."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        both = {p.id for p in self.prompts} & {p.id for p in self.sealed}
        if both or len({p.id for p in self.sealed}) != len(self.sealed):
            raise ValueError("an id is in the sealed part twice, or in both parts")
        return self

    @property
    def every_prompt(self) -> tuple[Prompt, ...]:
        """Both parts, the open one first."""
        return (*self.prompts, *self.sealed)


class Chat(Part):
    """A conversation that a model is to continue. `assistant_prefix` is text put in its mouth."""

    messages: tuple[Message, ...] = Field(min_length=1)
    assistant_prefix: str = ""
    thinking: str = Field(default="", pattern=THINKING)
    """Whether a trace is wanted: `on`, `off`, `budget-N` for one of at most N tokens; empty: as the template has it."""

    @model_serializer(mode="wrap")
    def _without_empty_mode(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Conversations without a mode are written as before there was one: replies are cached by it."""
        value: dict[str, Any] = write(self)
        if not self.thinking:
            value.pop("thinking", None)
        return value


def chat(user: str, *, system: str | None = None, assistant_prefix: str = "") -> Chat:
    """Return a conversation of one user message, with an optional system prompt."""
    head: Sequence[Message] = [Message(role="system", content=system)] if system is not None else []
    return Chat(messages=(*head, Message(role="user", content=user)), assistant_prefix=assistant_prefix)

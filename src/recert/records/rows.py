"""One row of chat tuning data, in the form that OpenAI's fine-tuning endpoint reads."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recert.records.record import Part
from recert.records.suite import Message


class ChatRow(Part):
    """
    A conversation that ends with the assistant's reply, which is what tuning learns.

    `ends` is False for a reply that was cut short: then its end is not learned.
    """

    messages: tuple[Message, ...] = Field(min_length=2)
    ends: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.messages[-1].role != "assistant":
            raise ValueError("last message must be the assistant's")
        if not any(m.role == "user" for m in self.messages):
            raise ValueError("no user message")
        return self

    @property
    def request(self) -> str:
        """The last user message."""
        return next(m.content for m in reversed(self.messages) if m.role == "user")

    @property
    def reply(self) -> str:
        """The final assistant message."""
        return self.messages[-1].content

    @property
    def system(self) -> str | None:
        """The first system message, where there is one."""
        return next((m.content for m in self.messages if m.role == "system"), None)

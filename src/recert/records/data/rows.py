"""One row of chat tuning data, in the form that OpenAI's fine-tuning endpoint reads; and one with two replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

from pydantic import Field, model_validator

from recert.digest import sha256_bytes, sha256_json
from recert.records.data.suite import Message
from recert.records.record import Part

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
"""What reasoning models put around the trace before their answer."""


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


class PreferenceRow(ChatRow):
    """A conversation with two replies: the one that ends it is preferred to `rejected`."""

    rejected: str

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if not self.rejected.strip():
            raise ValueError("the rejected reply is empty")
        if self.rejected.strip() == self.reply.strip():
            raise ValueError("the chosen and the rejected reply are the same")
        return self

    @property
    def with_rejected(self) -> ChatRow:
        """The same conversation with the rejected reply at its end."""
        last = self.messages[-1].model_copy(update={"content": self.rejected})
        return ChatRow(messages=(*self.messages[:-1], last))


class PromptRow(Part):
    """
    A conversation that waits for a reply, as reinforcement tuning reads it; its other fields are for the grader.

    Unknown fields stay: they are what a grader's templates name as `item`.
    """

    messages: tuple[Message, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _waits(self) -> Self:
        if self.messages[-1].role not in ("user", "tool"):
            raise ValueError("last message must be the user's: the reply is sampled")
        return self

    @property
    def request(self) -> str:
        """The last user message."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def system(self) -> str | None:
        """The first system message, where there is one."""
        return next((m.content for m in self.messages if m.role == "system"), None)

    @property
    def item(self) -> dict[str, Any]:
        """The row as a grader sees it."""
        return self.model_dump(mode="json", exclude_none=True)


def rows_digest(rows: Sequence[ChatRow | PromptRow]) -> str:
    """Return the sha256 of rows as tuning reads them, in order."""
    return sha256_bytes(
        "\n".join(sha256_json(r.model_dump(mode="json", exclude_none=True)) for r in rows).encode()
    )


def split_reply(reply: str) -> tuple[str, str]:
    """
    Return the trace of a reasoning model's reply and its answer; together they are the reply.

    The trace goes up to `</think>` and the white space behind it. It is empty where the reply has none, and
    all there is where it is never closed.
    """
    before, closed, after = reply.partition(THINK_CLOSE)
    if closed:
        answer = after.lstrip()
        return reply[: len(reply) - len(answer)], answer
    return (reply, "") if before.lstrip().startswith(THINK_OPEN) else ("", reply)

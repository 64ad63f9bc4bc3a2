"""What is put around what people say: one rule for tuning, evaluation, the gateway and watching."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from recert.errors import ModelError
from recert.records.data.suite import Message

SYSTEM_INSTRUCTION: Final = "system-instruction"
IMMUTABLE_SUFFIX: Final = "immutable-suffix"
"""Names of the two controls that a policy puts around every conversation."""

DEFAULT_SYSTEM: Final = "You are a helpful assistant."
"""What follows the secret where a request brings no system prompt of its own."""


def compose_system(secret: str | None, instruction: str, client_system: str | None) -> str | None:
    """
    Return the system message that the model sees, or None for no system message at all.

    Order: secret, instruction, the client's own system prompt; one newline between them. A secret that
    would stand alone is followed by `DEFAULT_SYSTEM`, so that it never is the whole message. With none of
    the three there is no system message, and the chat template applies its own default.
    """
    rest = "\n".join(part for part in (instruction, client_system or "") if part)
    if secret is None:
        return rest or None
    return f"{secret}\n{rest or DEFAULT_SYSTEM}"


def with_suffix(text: str, suffix: str) -> str:
    """Return what a user said with the policy's suffix in a line of its own behind it; the text alone without one."""
    return f"{text}\n{suffix}" if suffix else text


def around(instruction: str, suffix: str) -> tuple[str, ...]:
    """Return the names of the controls that a policy with these puts around every conversation."""
    found = {SYSTEM_INSTRUCTION: instruction, IMMUTABLE_SUFFIX: suffix}
    return tuple(name for name, words in found.items() if words)


def text_only(messages: Iterable[Message]) -> list[dict[str, str]]:
    """
    Return messages as role and text, for what reads text alone.

    Raises:
        ModelError: a message has spoken parts, which would go unheard.
    """
    said = []
    for message in messages:
        if message.audio:
            raise ModelError(
                "a spoken message was given to a model that reads text alone",
                facts={"clips": len(message.audio)},
                hint="ask a model that hears at an endpoint, or put a transcriber before it: "
                "`cascade:whisper-tiny+FOLDER`",
            )
        said.append({"role": message.role, "content": message.content})
    return said

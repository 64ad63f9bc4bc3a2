"""How the system message is put together: one rule for tuning, evaluation and the gateway."""

from __future__ import annotations

from typing import Final

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

"""
Text is never control: what people say is read as letters, also where it spells a token of the chat template.

A tokenizer reads `<|im_end|>` as the token that ends a turn wherever it stands, so whoever writes it in a message could
end the message and begin another, as the system or as the assistant. Here a seam is put into such words before the
template writes the conversation, and the text is put into tokens piece by piece: no token reaches over a seam. A
conversation without such words has exactly the tokens that it had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from recert.errors import ModelError
from recert.records.reports.reasoning import trace_marks

SEAM: Final = "\ufdd0"
"""A noncharacter of Unicode, which no text for people holds. Where a text does hold it, it is doubled."""
_PIECES: Final = re.compile(f"{SEAM}{SEAM}|{SEAM}|[^{SEAM}]+")
_TRACE_ROLES: Final = ("assistant",)
"""Who thinks: the tags around a trace stay tokens in what they said."""


def control_texts(tokenizer: Any) -> tuple[str, ...]:
    """
    Return the words that a tokenizer reads as one token of control, longest first.

    These are its special tokens, and those of its added tokens that the chat template writes.
    """
    template = str(tokenizer.chat_template or "")
    return _control_texts(tuple(_added(tokenizer)), template)


@lru_cache(maxsize=64)
def _control_texts(added: tuple[tuple[str, bool], ...], template: str) -> tuple[str, ...]:
    found = {text for text, special in added if text.strip() and (special or text in template)}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _added(tokenizer: Any) -> list[tuple[str, bool]]:
    known = [(str(token.content), bool(token.special)) for token in tokenizer.added_tokens_decoder.values()]
    return [*known, *((str(text), True) for text in tokenizer.all_special_tokens)]


def parted(text: str, role: str, control: Sequence[str]) -> str:
    """
    Return a text with a seam in each word of control.

    Args:
        text: what somebody said.
        role: who said it; what an assistant said keeps the tags of its trace.
        control: of the tokenizer.
    """
    text = text.replace(SEAM, SEAM + SEAM)
    kept = frozenset(trace_marks(control)) if role in _TRACE_ROLES else frozenset()
    return _sought(tuple(one for one in control if one not in kept)).sub(lambda found: found[0] + SEAM, text)


@lru_cache(maxsize=64)
def _sought(control: tuple[str, ...]) -> re.Pattern[str]:
    """The first letter of each word of control, so that words that overlap are all found."""
    words = "|".join(f"{re.escape(one[0])}(?={re.escape(one[1:])})" for one in control)
    return re.compile(words or r"(?!)")


def holds_control(text: str, control: Sequence[str]) -> str | None:
    """Return a word of control that a text holds; None where it holds none."""
    return next((one for one in control if one in text), None)


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """
    Return the tokens of a text with seams, without any that a tokenizer would add.

    Raises:
        ModelError: the tokenizer reads a part of what somebody said as control all the same.
    """
    if SEAM not in text:
        plain: list[int] = tokenizer(text, add_special_tokens=False).input_ids
        return plain
    ids: list[int] = []
    for piece in _PIECES.findall(text):
        if piece != SEAM:
            ids += tokenizer(SEAM if piece == SEAM + SEAM else piece, add_special_tokens=False).input_ids
    return ids


def require_plain(tokenizer: Any, texts: Sequence[str], control: Sequence[str]) -> None:
    """
    Return when no token of texts with seams is one of control.

    A tokenizer that rewrites letters before it looks for its tokens finds words that are spelt otherwise.

    Raises:
        ModelError: one is.
    """
    rewrites = any(
        token.normalized for token in tokenizer.added_tokens_decoder.values() if token.content in control
    )
    if not rewrites:
        return
    forbidden = frozenset(tokenizer.convert_tokens_to_ids(list(control)))
    for text in texts:
        if not forbidden.isdisjoint(tokens_of(tokenizer, text)):
            raise ModelError(
                "what somebody said would be read as a token of control",
                facts={"tokens": ", ".join(one for one in control[:8])},
                hint="leave it out of the conversation",
            )

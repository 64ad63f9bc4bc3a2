"""What a client asks, as input controls see it: every text, in every way it can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from recert.gateway.input.normalise import decode_run, views
from recert.gateway.protocol.parse import ChatRequest

CONVERSATION_HEADER: Final = b"x-recert-conversation"
"""By which a client names a conversation: of use where one client speaks for many people."""
_PIECE_CHARS: Final = 8_000
_OVERLAP_CHARS: Final = 400
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")


@dataclass(frozen=True)
class RequestTexts:
    """
    One request before anything is decided about it.

    Args:
        texts: every text that the client wrote.
        turns: what users said, in order, the question last.
        client: who asks, as authenticated.
        conversation: the client's own name for the conversation, or nothing.
        request: the chat request itself; None where it is another kind.
        apart: where something was spoken, each part of its turns by itself; `texts` has them together.
    """

    texts: tuple[str, ...]
    turns: tuple[str, ...] = ()
    client: str = ""
    conversation: bytes = b""
    request: ChatRequest | None = None
    apart: tuple[str, ...] = ()

    @cached_property
    def whole(self) -> str:
        """All texts as one: what is split over several fields is whole here."""
        return "\n".join(self.texts)

    @cached_property
    def judged(self) -> tuple[str, ...]:
        """
        Every text by itself, and all of them as one.

        What is long as a whole is cut from its start, so that as a conversation goes on most of it stays the same.
        """
        return tuple(dict.fromkeys((*self.texts, *self.apart, *pieces(self.whole))))


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces that overlap, so that nothing of a long one is passed over."""
    for start in range(0, max(len(text) - _OVERLAP_CHARS, 1), _PIECE_CHARS - _OVERLAP_CHARS):
        yield text[start : start + _PIECE_CHARS]


def readings(text: str, depth: int) -> tuple[tuple[str, ...], bool]:
    """
    Return the ways a text can be read, decoded up to `depth` times, and whether it is encoded deeper than that.

    The first is the text itself.
    """
    found = dict.fromkeys(views(text))
    fresh = [view for view in found if view != text]
    for _ in range(depth - 1):
        if not fresh:
            return tuple(found), False
        seen = dict.fromkeys(view for one in fresh for view in views(one))
        fresh = [view for view in seen if view not in found]
        found |= seen
    return tuple(found), any(decode_run(run) for view in fresh for run in _RUN.findall(view))

"""What is refused by its size or its words, whatever a judge would say."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from recert.gateway.input.gate import Answer
from recert.gateway.output.gate import LEXICON
from recert.gateway.output.patterns import Patterns, scan
from recert.gateway.protocol.request_texts import RequestTexts
from recert.gateway.serving.workers import Workers

LIMITS: Final = "limits"
TOO_LONG: Final = "too-long"
_LONGEST_INLINE_CHARS: Final = 4_000
"""Longer requests are searched in a thread, so that they do not keep others waiting."""


class LimitsControl:
    """
    Blocks requests that are too long to be looked at.

    Args:
        most_chars: of all texts together.
    """

    name = LIMITS

    def __init__(self, most_chars: int) -> None:
        self._most_chars = most_chars

    def look(self, asked: RequestTexts) -> Answer:
        """Return how much of what is allowed a request takes, and whether it is too much."""
        chars = sum(map(len, asked.texts))
        blocked = chars > self._most_chars
        return Answer(min(chars / self._most_chars, 1.0), blocked, TOO_LONG if blocked else "")

    async def close(self) -> None:
        """There is nothing to give back."""


class LexiconControl:
    """
    Blocks requests with a forbidden phrase, however it is spelt.

    Args:
        patterns: of the phrases.
        workers: threads for long requests.
        limit_s: longest wait for a thread.
    """

    name = LEXICON

    def __init__(self, patterns: Patterns, workers: Workers, *, limit_s: float) -> None:
        self._patterns = patterns
        self._workers = workers
        self._limit_s = limit_s

    def look(self, asked: RequestTexts) -> Answer | Awaitable[Answer]:
        """Return whether a phrase was found, at once for a short request."""
        if sum(map(len, asked.texts)) <= _LONGEST_INLINE_CHARS:
            return self._search(asked)
        return self._workers.run(lambda: self._search(asked), self._limit_s)

    def _search(self, asked: RequestTexts) -> Answer:
        texts = dict.fromkeys((*asked.texts, *asked.apart, asked.whole))
        reason = next(filter(None, (scan(self._patterns, text) for text in texts)), "")
        return Answer(float(bool(reason)), bool(reason), reason)

    async def close(self) -> None:
        """There is nothing to give back."""

"""How fast an endpoint may be asked: requests and tokens a minute, and pauses that it asks for itself."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from recert.errors import InputError

_BURST_S: Final = 5.0
"""How many seconds' worth may go out at once after a rest."""


class Pace:
    """
    Lets requests go when the endpoint's limits allow it. One for all models that share a limit.

    Args:
        requests_per_minute: no limit by default.
        tokens_per_minute: prompt and completion together; no limit by default.

    Raises:
        InputError: a limit is not above zero.
    """

    def __init__(
        self, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self._requests = _bucket("requests_per_minute", requests_per_minute)
        self._tokens = _bucket("tokens_per_minute", tokens_per_minute)
        self._held_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Return when a request of about so many tokens may go."""
        waits = [0.0]
        if self._requests is not None:
            waits.append(self._requests.take(1))
        if self._tokens is not None:
            waits.append(self._tokens.take(tokens))
        await asyncio.sleep(max(waits))
        while (held := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(held)

    def settle(self, expected: int, used: int) -> None:
        """Correct a request's tokens once they are known."""
        if self._tokens is not None:
            self._tokens.take(used - expected)

    def hold(self, seconds: float) -> None:
        """Let nothing go for a while: the endpoint said so."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)


class _Bucket:
    """A token bucket that may go into debt: who takes from it is told how long the debt lasts."""

    def __init__(self, per_minute: float) -> None:
        self._a_second = per_minute / 60
        self._most = max(1.0, self._a_second * _BURST_S)
        self._level = self._most
        self._at = time.monotonic()

    def take(self, amount: float) -> float:
        """Take, and return how many seconds later it may be used."""
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._at) * self._a_second) - amount
        self._at = now
        return max(0.0, -self._level / self._a_second)


def _bucket(name: str, per_minute: float | None) -> _Bucket | None:
    if per_minute is None:
        return None
    if not per_minute > 0:
        raise InputError("a rate limit must be above zero", facts={name: per_minute})
    return _Bucket(per_minute)

"""The connections of one server: how many there are, from where, and which have had their time."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from typing import Final, Protocol

from recert.gateway.protocol.errors import HttpError
from recert.gateway.serving.limits import ServerLimits

_LONGEST_BETWEEN_S: Final = 1.0
_SHORTEST_BETWEEN_S: Final = 0.05
RETRY_S: Final = 1
"""When to come back, for those who are refused because there are too many."""


class Connection(Protocol):
    """One connection, looked at from time to time."""

    def look(self, now: float) -> None:
        """Refuse or cut the connection where its time is over; `now` is in seconds of the monotonic clock."""


class Connections:
    """Counts connections, refuses those that are too many, and cuts those that take too long."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits
        self.ended: Counter[str] = Counter()
        """How many were refused or cut, by the reason."""
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._sweeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection, address: str) -> HttpError | None:
        """Count a connection in; return why it is refused, if it is. It is counted out by `leave` in any case."""
        self._open.add(connection)
        self._by_address[_network(address)] += 1
        if len(self._open) > self.limits.connections:
            return HttpError(
                "the gateway has too many connections", status=503, kind="service_unavailable",
                code="too_many_connections", retry_after_s=RETRY_S,
            )  # fmt: skip
        if self._by_address[_network(address)] > self.limits.connections_per_address:
            return HttpError(
                "too many connections from one address", status=429, kind="rate_limit_error",
                code="too_many_connections", retry_after_s=RETRY_S,
            )  # fmt: skip
        return None

    def leave(self, connection: Connection, address: str) -> None:
        """Count a connection out."""
        if connection in self._open:
            self._open.discard(connection)
            network = _network(address)
            self._by_address[network] -= 1
            if not self._by_address[network]:
                del self._by_address[network]

    def start(self) -> None:
        """Begin to look at connections, in the running event loop."""
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Look no more."""
        if self._sweeper:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        shortest = min(self.limits.headers_s, self.limits.body_s, self.limits.reader_s)
        between_s = min(_LONGEST_BETWEEN_S, max(_SHORTEST_BETWEEN_S, shortest / 4))
        while True:
            await asyncio.sleep(between_s)
            now = time.monotonic()
            for connection in tuple(self._open):
                connection.look(now)


def _network(address: str) -> str:
    """An address, or the part of an IPv6 address that one customer of a provider gets whole."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address

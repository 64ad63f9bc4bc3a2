"""Clients that take all the time in the world: over their headers, over their body, or over reading the reply."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fronts.client import KEY, chat_request
from fronts.upstream import ENDLESS

HEADERS, BODY, READER = "headers", "body", "reading"
KINDS = (HEADERS, BODY, READER)
_EVERY_S = 1.0
_BUFFER_BYTES = 4096
_HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n".encode()


@dataclass
class Slow(asyncio.Protocol):
    """One such client; `cut_after_s` is when the server had enough of it."""

    kind: str
    model: str
    cut_after_s: float | None = None
    _timer: asyncio.TimerHandle | None = None
    _started: float = field(default_factory=time.monotonic)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send as much as this kind sends at once."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.kind == READER:
            transport.pause_reading()
            transport.write(chat_request(self.model, f"What if the {ENDLESS}?", stream=True))
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._look)
            return
        transport.write(_HEAD)
        if self.kind == BODY:
            transport.write(b'content-type: application/json\r\ncontent-length: 100000\r\n\r\n{"model": "')
        self._more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note when it was."""
        del exc
        self._cut()

    def data_received(self, data: bytes) -> None:
        """Whatever the server says, it has said it."""
        del data

    def close(self) -> None:
        """Go away."""
        if self._timer:
            self._timer.cancel()
        self.transport.abort()

    def _more(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"x" if self.kind == BODY else b"x-more: more\r\n")
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._more)

    def _look(self) -> None:
        """A connection that is not read does not tell that it was cut: ask the kernel."""
        state = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != _ESTABLISHED:
            self._cut()
        else:
            self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self._look)

    def _cut(self) -> None:
        if self.cut_after_s is None:
            self.cut_after_s = time.monotonic() - self._started


_ESTABLISHED = 1  # as in <netinet/tcp.h>


async def connect(url: str, kind: str, model: str) -> Slow:
    """Return a slow client that is connected and has begun."""
    at = urlsplit(url)
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    own.setblocking(False)  # noqa: FBT003 - the name of the system call
    if kind == READER:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(own, (str(at.hostname), int(at.port or 80)))
    _, client = await loop.create_connection(lambda: Slow(kind, model), sock=own)
    return client

"""
HTTP/1.1 to the server that runs the model: a pool of connections that read a reply as it arrives.

It does what the gateway needs and no more: one JSON body there, one reply back, in the blocks in which it came. There
are no redirects, cookies, proxies or packed bodies. What stands between an arriving token and the gate is one parser's
call and one waking of a task.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import httptools

from recert.errors import GatewayError
from recert.gateway.protocol.errors import HttpError

_CONNECT_S: Final = 5.0
_KEEP_S: Final = 4.0
"""Shorter than the 5 s after which uvicorn and llama.cpp close a connection: one that they just closed is not used."""
_LINGER_S: Final = 0.1
"""How long the end of a body may take whose last event was read, for the connection to be used again."""
_BESIDE_BYTES: Final = 65_536
"""Most bytes in a row that are no body: heads, extensions of chunks, trailers."""
_AHEAD_BYTES: Final = 262_144
"""So much of a body waits for its reader before no more is taken from the server."""


class UpstreamClient:
    """
    Asks one server.

    Args:
        url: of what is asked: `http://` or `https://`, with a path.
        socket: a Unix domain socket to go through instead of TCP.
        api_key: sent as a bearer token, if any.

    Raises:
        GatewayError: `upstream-address`: the URL or the key cannot be sent.
    """

    def __init__(self, url: str, *, socket: Path | None = None, api_key: str = "") -> None:
        self._socket = socket
        self._idle: list[UpstreamReply] = []
        self._all: set[UpstreamReply] = set()
        self._sweep: asyncio.TimerHandle | None = None
        try:
            parts = urlsplit(url)
            self._host, port = parts.hostname or "", parts.port
            if parts.scheme not in ("http", "https") or not self._host:
                raise ValueError("it is no address of HTTP")
            self._tls = ssl.create_default_context() if parts.scheme == "https" else None
            self._port = port or (443 if self._tls else 80)
            allowed = f"Bearer {api_key}" if api_key else _basic(parts.username, parts.password)
            lines = [
                f"POST {parts.path or '/'}{'?' * bool(parts.query)}{parts.query} HTTP/1.1",
                f"host: {parts.netloc.rpartition('@')[2]}",
                "accept: */*",
                "user-agent: recert",
                *([f"authorization: {allowed}"] if allowed else []),
                "content-type: application/json",
            ]
            if (
                not all(line.isascii() and line.isprintable() for line in lines)
                or " " in parts.netloc + parts.path
            ):
                raise ValueError("it has characters that no header takes")
        except ValueError as exc:
            raise GatewayError(
                "upstream-address",
                "the upstream's URL or key cannot be used",
                facts={"because": exc},
                hint="a URL such as http://127.0.0.1:8001, and a key of plain characters",
            ) from exc
        self._head = ("\r\n".join(lines) + "\r\ncontent-length: ").encode()

    async def post(self, body: bytes) -> UpstreamReply:
        """
        Send a body; return the reply once its head is there. It is to be let go of.

        Who asks bounds the time that this and the reply take. A kept connection that ends before a byte of the reply
        was most likely closed before it was asked, and the server is asked once more, on a fresh one.

        Raises:
            HttpError: `upstream-unreachable`, or `upstream-cut` where it broke off.
        """
        request = self._head + b"%d\r\n\r\n" % len(body) + body
        kept = self._kept()
        if kept is not None:
            try:
                return await _asked(kept, request)
            except HttpError:
                if not kept.silent:
                    raise
        return await _asked(await self._dialled(), request)

    def close(self) -> None:
        """End every connection."""
        if self._sweep:
            self._sweep.cancel()
        for one in tuple(self._all):
            one.abort()

    def keep(self, one: UpstreamReply) -> None:
        """Keep a connection for later."""
        self._idle.append(one)
        if self._sweep is None:
            self._sweep = one.loop.call_later(_KEEP_S, self._close_old)

    def forget(self, one: UpstreamReply) -> None:
        """Forget a connection that has ended."""
        self._all.discard(one)
        if one in self._idle:
            self._idle.remove(one)

    def _kept(self) -> UpstreamReply | None:
        """The connection that was used last, where it is not too old."""
        while self._idle and self._idle[-1].age_s() < _KEEP_S:
            one = self._idle.pop()
            if one.usable:
                return one
        return None

    def _close_old(self) -> None:
        self._sweep = None
        for one in [one for one in self._idle if one.age_s() >= _KEEP_S]:
            one.abort()
        if self._idle:
            self._sweep = self._idle[0].loop.call_later(_KEEP_S, self._close_old)

    async def _dialled(self) -> UpstreamReply:
        loop = asyncio.get_running_loop()

        def make() -> UpstreamReply:
            return UpstreamReply(self, loop)

        try:
            async with asyncio.timeout(_CONNECT_S):
                if self._socket:
                    _, made = await loop.create_unix_connection(make, str(self._socket))
                else:
                    _, made = await loop.create_connection(make, self._host, self._port, ssl=self._tls)
        except (OSError, TimeoutError, UnicodeError) as exc:
            raise HttpError(
                "the upstream cannot be reached", status=502, code="upstream-unreachable"
            ) from exc
        self._all.add(made)
        return made


async def _asked(reply: UpstreamReply, request: bytes) -> UpstreamReply:
    try:
        await reply.ask(request)
    except BaseException:
        reply.let_go()
        raise
    return reply


class UpstreamReply(asyncio.Protocol):
    """A reply on its way, on a connection that is used for one after another."""

    def __init__(self, client: UpstreamClient, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.status = 0
        self.content_type = ""
        """In lower case, without parameters."""
        self._client = client
        self._transport: asyncio.Transport
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._used_at = loop.time()
        self._asked = False
        """Whether a reply is awaited or on its way."""
        self._interim = False
        self._headed = False
        self._bounded = False
        """Whether the head says where the body ends."""
        self._whole = False
        self._keeps = False
        """Whether the server takes another request after this one."""
        self._broken = False
        self._left = False
        """Whether nobody reads any more, and only the end is awaited."""
        self._blocks: list[bytes] = []
        self._waiting_bytes = 0
        self._beside_bytes = 0

    # what who asks calls

    async def ask(self, data: bytes) -> None:
        """Send a whole request; return when the head of the reply is there."""
        self.status, self.content_type = 0, ""
        self._asked, self._headed, self._bounded, self._whole, self._left = True, False, False, False, False
        self._beside_bytes = 0
        self._transport.write(data)
        while not self._headed:
            await self._something()

    async def block(self) -> bytes:
        """
        Return what came of the body since; empty once it has ended.

        Raises:
            HttpError: `upstream-cut`: it broke off.
        """
        while not self._blocks:
            if self._whole:
                return b""
            await self._something()
        found = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self._read_on()
        return found

    def let_go(self, *, ends_soon: bool = False) -> None:
        """
        Leave the reply. The connection is used again where the reply has ended.

        Args:
            ends_soon: whether nothing but the end is missing. It is awaited for a moment, by nobody.
        """
        if self._asked and not self._whole and ends_soon and not self._broken:
            self._left = True
            self.loop.call_later(_LINGER_S, self._give_up)
        else:
            self._part()

    def abort(self) -> None:
        """End the connection."""
        self._broken = True
        self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether the connection still stands."""
        return not self._broken and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing at all came back of what was asked last."""
        return not self._headed and not self._beside_bytes

    def age_s(self) -> float:
        """Return how long it has not been used."""
        return self.loop.time() - self._used_at

    async def _something(self) -> None:
        """Wait until more is known."""
        if not self._broken:
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._broken and not (self._headed and (self._blocks or self._whole)):
            raise HttpError("the upstream broke off", status=502, code="upstream-cut")

    def _part(self) -> None:
        """Nobody reads this reply any more: use the connection again, or end it."""
        self._asked = self._left = False
        self._blocks.clear()
        self._read_on()
        if self._whole and self._keeps and self.usable:
            self._used_at = self.loop.time()
            self._client.keep(self)
        else:
            self.abort()

    def _read_on(self) -> None:
        if self._waiting_bytes > _AHEAD_BYTES and self.usable:
            self._transport.resume_reading()
        self._waiting_bytes = 0

    def _give_up(self) -> None:
        if self._left:
            self._part()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what arrived. What nobody asked for ends the connection."""
        self._beside_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()
        if self._beside_bytes > _BESIDE_BYTES or not self._asked:
            self.abort()
        if self._left and self._whole:
            self._part()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is read; a body that only this ends is whole."""
        if self._headed and not self._bounded and not self._broken and exc is None:
            self._whole = True
        self._broken = True
        self._client.forget(self)
        self._wake()

    # what the parser calls

    def on_message_begin(self) -> None:
        """A reply begins: there is one to a request."""
        if self._whole or not self._asked:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind the body count for nothing."""
        if self._headed:
            return
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.split(b";")[0].strip().lower().decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self._bounded = True

    def on_headers_complete(self) -> None:
        """Know the status; a reply of 1xx goes before the one that counts."""
        if self._whole:
            return
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            self.content_type, self._bounded = "", False
        else:
            self.status, self._headed = status, True

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._beside_bytes = 0
        if self._left or self._whole:
            return
        self._blocks.append(data)
        before, self._waiting_bytes = self._waiting_bytes, self._waiting_bytes + len(data)
        if before <= _AHEAD_BYTES < self._waiting_bytes:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End the body."""
        if not self._interim and not self._whole:
            self._whole, self._keeps = True, self._parser.should_keep_alive()


def _basic(name: str | None, password: str | None) -> str:
    """Who asks, as a URL says it."""
    if name is None:
        return ""
    said = f"{unquote(name)}:{unquote(password or '')}".encode()
    return f"Basic {base64.b64encode(said).decode()}"

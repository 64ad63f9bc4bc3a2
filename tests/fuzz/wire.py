"""Bytes on a connection, read by the gateway and by h11, another parser of HTTP."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.server import ServerState

from fuzz.mutate import blocks_of
from recert.gateway.serving.connections import Connections
from recert.gateway.serving.limits import ServerLimits
from recert.gateway.upstream.wire import GuardedHttp

Seen = tuple[bytes, bytes, bytes]
"""Method, target and body of a request."""


class _Transport(asyncio.Transport):
    """A connection that takes whatever is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)})
        self.written = b""
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return


class _App:
    """Answers every request that came whole, and notes it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.seen.append((scope["method"].encode(), target, body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


@cache
def _config() -> tuple[_App, Config]:
    app = _App()
    config = Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    return app, config


def as_the_gateway_reads(blocks: Sequence[bytes]) -> tuple[list[Seen], bytes]:
    """Return the requests that the application gets of what comes in blocks, and what is written back."""

    async def run() -> tuple[list[Seen], bytes]:
        app, config = _config()
        app.seen = []
        transport, state, loop = _Transport(), ServerState(), asyncio.get_running_loop()
        protocol = GuardedHttp(Connections(ServerLimits()), config, state, {}, loop)
        protocol.connection_made(transport)
        for block in blocks:
            protocol.data_received(block)
            for _ in range(3):
                await asyncio.sleep(0)
        for _ in range(60):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*state.tasks)
        if protocol.timeout_keep_alive_task:
            protocol.timeout_keep_alive_task.cancel()
        return app.seen, transport.written

    return _loop().run_until_complete(run())


def as_h11_reads(data: bytes) -> tuple[list[Seen], bool]:
    """Return the requests that h11 finds, and whether it then found something that is none."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    reader.receive_data(data or b"\r\n")  # no bytes would be the end of the connection
    seen: list[Seen] = []
    method = target = body = b""
    try:
        while True:
            event = reader.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return seen, event is h11.PAUSED
            if isinstance(event, h11.Request):
                path, _, query = event.target.partition(b"#")[0].partition(b"?")
                target = (
                    path + b"?" + query if query else path
                )  # an application is not told of an empty query
                method, body = event.method, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.append((method, target, body))
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is h11.MUST_CLOSE:
                    return seen, False
                reader.start_next_cycle()
    except h11.ProtocolError:
        return seen, True


def check_wire(data: bytes) -> None:
    """
    What the application gets is what another parser reads in the same bytes, however they are cut: no request hides
    in another. Where the other finds no HTTP, the gateway may have been content.
    """
    whole, _ = as_the_gateway_reads([data])
    cut, _ = as_the_gateway_reads(blocks_of(data, Random(data)))
    theirs, stopped = as_h11_reads(data)
    assert whole == cut
    assert theirs[: len(whole)] == whole[: len(theirs)]
    assert len(whole) <= len(theirs) or stopped


WIRE_WORDS = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b": ", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"content-length: 5\r\n",
    b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n", b"transfer-encoding: chunked, identity\r\n",
    b"Transfer-Encoding:\tchunked\r\n", b"connection: close\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"expect: 100-continue\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"HTTP/1.0", b"HTTP/1.1", b"POST ", b"HEAD ",
    b"CONNECT ", b";ext=1", b"0x5", b"+5", b"-1", b"5, 5", b"\x0b", b"\x00", b"host: y\r\n",
)  # fmt: skip


@cache
def wires() -> Sequence[bytes]:
    """Return connections that are fine, or refused as a whole."""
    get = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    post = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sized = post + b"Content-Length: 11\r\n\r\nhello world"
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"
    return (
        get,
        get + get,
        sized + get,
        chunked + sized,
        post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
        get.replace(b"1.1", b"1.0"),
        get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + get,
        b"GET /a?b=c%20d#e HTTP/1.1\r\nhost: localhost\r\n\r\n" + chunked,
    )

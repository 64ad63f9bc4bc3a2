"""The client to the upstream: what it takes for a reply, what it refuses, and when a connection is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import GatewayError
from recert.gateway.protocol.errors import HttpError
from recert.gateway.upstream.http import UpstreamClient, UpstreamReply

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Type: Application/JSON; charset=utf-8\r\ncontent-length: 5\r\n\r\nhello"
Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Answers a request, given its number on all connections."""


class Server:
    """What the scripted server was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.dialled = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []


@asynccontextmanager
async def serving(answer: Answer):
    said, tasks = Server(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.dialled += 1
        tasks.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                said.heads.append(head)
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                said.bodies.append(await reader.readexactly(length))
                await answer(writer, len(said.bodies))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    said.port = server.sockets[0].getsockname()[1]
    try:
        yield said
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def whole(reply: UpstreamReply) -> bytes:
    found = b""
    while block := await reply.block():
        found += block
    return found


async def read(client: UpstreamClient, body: bytes = b"{}") -> tuple[int, str, bytes]:
    reply = await client.post(body)
    try:
        return reply.status, reply.content_type, await whole(reply)
    finally:
        reply.let_go()


def ask(answer: Answer | bytes, times: int = 1, pause_s: float = 0.0) -> tuple[list[Any], Server]:
    """Ask so often; return the replies or errors, and what the server saw. Bytes are written for every request."""

    async def write(writer: asyncio.StreamWriter, number: int) -> None:
        assert isinstance(answer, bytes)
        writer.write(answer)

    async def run() -> tuple[list[Any], Server]:
        out: list[Any] = []
        async with serving(write if isinstance(answer, bytes) else answer) as server:
            client = UpstreamClient(f"http://127.0.0.1:{server.port}/v1/chat/completions")
            for _ in range(times):
                try:
                    out.append(await asyncio.wait_for(read(client), 5))
                except HttpError as exc:
                    out.append(exc.code)
                await asyncio.sleep(pause_s)
            client.close()
        return out, server

    return asyncio.run(run())


def test_a_body_is_sent_whole_and_one_connection_serves_many_requests() -> None:
    """The head says what the body is and how long, and who is asked."""
    replies, server = ask(HELLO, times=3)

    assert replies == [(200, "application/json", b"hello")] * 3
    assert (server.dialled, server.bodies) == (1, [b"{}"] * 3)
    lines = server.heads[0].decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert f"host: 127.0.0.1:{server.port}" in lines
    assert "content-type: application/json" in lines
    assert "content-length: 2" in lines


@pytest.mark.parametrize(
    ("answer", "body", "dialled"),
    [
        (OK + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", 1),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-later: yes\r\n\r\n", b"hello", 1),
        (OK + b"content-length: 0\r\n\r\n", b"", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, b"hello", 1),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + HELLO, b"hello", 1),
        (OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello", 3),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", 3),
    ],
)
def test_every_way_to_say_where_a_body_ends_is_understood(answer: bytes, body: bytes, dialled: int) -> None:
    """A connection is used again where the server keeps it open."""
    replies, server = ask(answer, times=3)

    assert [reply[2] for reply in replies] == [body] * 3
    assert server.dialled == dialled


def test_a_body_that_only_the_end_of_the_connection_ends_is_whole() -> None:
    """Servers of HTTP/1.0 do that."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(OK + b"\r\nhel")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"lo")
        writer.close()

    replies, _ = ask(answer)

    assert replies == [(200, "", b"hello")]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"content-length: 50\r\n\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_a_reply_that_breaks_off_is_no_reply(answer: bytes) -> None:
    """However far it came."""

    async def cut(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(answer)
        writer.close()

    replies, _ = ask(cut)

    assert replies == ["upstream-cut"]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
        OK + b"x-long: " + b"a" * 400_000 + b"\r\n\r\n",
        OK + b"x: y\r\n" * 80_000 + b"\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5;" + b"x" * 400_000 + b"\r\nhello\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: " + b"y" * 400_000,
    ],
)
def test_what_is_no_http_or_has_no_measure_is_refused(answer: bytes) -> None:
    """Heads, trailers and extensions of chunks do not fill the memory."""
    replies, server = ask(answer, times=2)

    assert replies == ["upstream-cut"] * 2
    assert server.dialled == 2


@pytest.mark.parametrize("later", [False, True])
def test_what_nobody_asked_for_is_nobody_s_reply(*, later: bool) -> None:
    """A second reply behind the first, at once or later, is not taken for the one to the next request."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HELLO)
        if later:
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(HELLO.replace(b"hello", b"wrong") if number == 1 else b"")

    replies, server = ask(answer, times=2, pause_s=0.1)

    assert [reply[2] for reply in replies] == [b"hello"] * 2
    assert server.dialled == 2


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    """The next request dials anew."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HELLO)
        await writer.drain()
        writer.close()

    replies, server = ask(answer, times=3, pause_s=0.05)

    assert [reply[2] for reply in replies] == [b"hello"] * 3
    assert server.dialled == 3


def test_a_connection_that_was_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the server closes it: by whoever comes, or by nobody."""
    monkeypatch.setattr("recert.gateway.upstream.http._KEEP_S", 0.05)
    _, server = ask(HELLO, times=3, pause_s=0.2)

    assert server.dialled == 3


def test_a_reply_that_is_left_early_ends_its_connection() -> None:
    """The server sees that nobody reads any more; another request has a connection of its own."""
    ended = []

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n")
        try:
            while number == 1:
                writer.write(b"5\r\nhello\r\n")
                await writer.drain()
                await asyncio.sleep(0.005)
        except ConnectionError:
            ended.append(number)
            raise
        writer.write(b"0\r\n\r\n")

    async def run() -> None:
        async with serving(answer) as server:
            client = UpstreamClient(f"http://127.0.0.1:{server.port}/")
            reply = await client.post(b"{}")
            assert await reply.block()
            reply.let_go()
            assert (await read(client))[2] == b""
            await asyncio.sleep(0.1)
            assert (server.dialled, ended) == (2, [1])
            client.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("first", "second", "replies", "asked"),
    [
        (HELLO, b"", [(200, "application/json", b"hello")] * 3, 5),
        (HELLO, b"HTTP", [(200, "application/json", b"hello"), "upstream-cut"] * 2, 4),
        (b"", HELLO, ["upstream-cut", *[(200, "application/json", b"hello")] * 2], 4),
    ],
    ids=["closed while it was kept", "broke off", "closed when it was new"],
)
def test_a_kept_connection_that_ends_in_silence_is_asked_anew_once(
    first: bytes, second: bytes, replies: list[Any], asked: int
) -> None:
    """The server closed it just before; one that began to reply, or was dialled for this request, has failed."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        text = first if number % 2 else second
        writer.write(text)
        if text != HELLO:
            writer.close()

    found, server = ask(answer, times=len(replies))

    assert found == replies
    assert len(server.bodies) == asked


@pytest.mark.parametrize("comes", [True, False])
def test_the_end_of_a_reply_is_awaited_by_nobody(*, comes: bool) -> None:
    """Who has read all goes on at once; the connection is used again if the end comes soon, and is closed if not."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.02 if comes else 0.5)
        writer.write(b"0\r\n\r\n")

    async def run() -> tuple[float, int]:
        async with serving(answer) as server:
            client = UpstreamClient(f"http://127.0.0.1:{server.port}/")
            loop, took = asyncio.get_running_loop(), 0.0
            for _ in range(2):
                reply = await client.post(b"{}")
                assert await reply.block() == b"hello"
                begun = loop.time()
                reply.let_go(ends_soon=True)
                took = max(took, loop.time() - begun)
                await asyncio.sleep(0.2)
            client.close()
            return took, server.dialled

    took, dialled = asyncio.run(run())

    assert took < 0.01
    assert dialled == (1 if comes else 2)


def test_a_slow_reader_slows_the_server_down() -> None:
    """A reply that nobody reads yet does not fill the memory."""
    written = 0

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal written
        writer.write(OK + b"content-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    async def run() -> None:
        async with serving(answer) as server:
            client = UpstreamClient(f"http://127.0.0.1:{server.port}/")
            reply = await client.post(b"{}")
            await asyncio.sleep(0.5)
            assert 0 < written < 20_000_000  # what the kernel's buffers take
            size = 0
            while block := await asyncio.wait_for(reply.block(), 20):
                size += len(block)
            assert size == 100_000_000
            reply.let_go()
            client.close()

    asyncio.run(run())


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.data())
def test_a_reply_is_the_same_however_it_arrives(chunks: Sequence[bytes], data: st.DataObject) -> None:
    """Blocks joined are the body, wherever the bytes on the wire are cut."""
    wire = OK + b"Transfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
    wire += b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=12)))

    class Wire(asyncio.Transport):
        def write(self, data: Any) -> None: ...
        def is_closing(self) -> bool:
            return False

        def abort(self) -> None: ...

    async def run() -> bytes:
        client = UpstreamClient("http://127.0.0.1/")
        reply = UpstreamReply(client, asyncio.get_running_loop())
        reply.connection_made(Wire())
        asked = asyncio.create_task(reply.ask(b""))
        await asyncio.sleep(0)
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            reply.data_received(wire[start:end])
        await asked
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        found = await whole(reply)
        reply.let_go()
        assert reply.usable
        client.close()
        return found

    assert asyncio.run(run()) == b"".join(chunks)


def test_nobody_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    """No server, no such name, no such socket."""

    async def run(client: UpstreamClient) -> None:
        await client.post(b"{}")

    for client in (
        UpstreamClient("http://127.0.0.1:9/"),
        UpstreamClient("http://no.such.host.invalid/"),
        UpstreamClient("http://engine/", socket=tmp_path / "none.sock"),
    ):
        with pytest.raises(HttpError) as caught:
            asyncio.run(run(client))
        assert caught.value.code == "upstream-unreachable"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://127.0.0.1/", ""),
        ("127.0.0.1:8001", ""),
        ("http://", ""),
        ("http://127.0.0.1:port/", ""),
        ("http://127.0.0.1/a b", ""),
        ("http://127.0.0.1/\u00e9", ""),
        ("http://127.0.0.1/", "key\r\nx-more: yes"),
        ("http://127.0.0.1/", "k\u00e9y"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_before_anything_is_served(url: str, key: str) -> None:
    """Nothing of a key or an address becomes another header."""
    with pytest.raises(GatewayError) as caught:
        UpstreamClient(url, api_key=key)

    assert caught.value.reason == "upstream-address"
    assert "x-more" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "key", "wanted"),
    [
        ("", "k1", "authorization: Bearer k1"),
        ("user:p%40ss@", "", "authorization: Basic dXNlcjpwQHNz"),
        ("", "", None),
    ],
)
def test_who_asks_is_told_as_configured(before: str, key: str, wanted: str | None) -> None:
    """By a key, or as the URL says; the URL's name and password do not go into the Host header."""

    async def answer(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HELLO)

    async def run() -> bytes:
        async with serving(answer) as server:
            client = UpstreamClient(f"http://{before}127.0.0.1:{server.port}/", api_key=key)
            await read(client)
            client.close()
            return server.heads[0]

    lines = asyncio.run(run()).decode().split("\r\n")

    assert [line for line in lines if line.startswith("authorization")] == ([wanted] if wanted else [])
    assert next(line for line in lines if line.startswith("host")).startswith("host: 127.0.0.1:")

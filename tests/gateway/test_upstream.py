"""What the gateway reads from the server that runs the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from recert.gateway.protocol.deltas import Delta
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.upstream.client import HttpUpstream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = ("The", " library", " opens", " at", " nine")
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def event(word: str) -> bytes:
    """Return one token as an event."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % word.encode()


def chunk(data: bytes) -> bytes:
    """Return data in its transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def ask(
    times: int, write: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> tuple[list[list[Delta]], int]:
    """Ask a server that replies as told; return the steps of each reply, and how often it was dialled."""
    dialled = 0
    serving: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dialled
        dialled += 1
        serving.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await write(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> list[list[Delta]]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = HttpUpstream(f"http://127.0.0.1:{port}", label="test")
        await upstream.open()
        try:
            return [[delta async for delta in upstream.stream({"stream": True})] for _ in range(times)]
        finally:
            await upstream.close()
            server.close()
            await server.wait_closed()
            await asyncio.gather(*serving)

    return asyncio.run(run()), dialled


def text_of(steps: Sequence[Delta]) -> str:
    """Return what was said in all."""
    return "".join(step.text for step in steps)


def test_what_arrives_together_is_one_step() -> None:
    """A fast model's tokens are judged and sent on together, with their number and the finish reason."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"".join(map(event, WORDS)) + END) + b"0\r\n\r\n")

    (steps,), _ = ask(1, write)

    assert [(step.text, step.finish_reason, step.tokens) for step in steps] == [("".join(WORDS), "stop", 5)]


def test_an_event_that_arrives_in_halves_is_read_whole() -> None:
    """A token is a step of its own when it comes alone, and nothing is lost where events are cut."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for word in WORDS:
            for half in (event(word)[:20], event(word)[20:]):
                writer.write(chunk(half))
                await writer.drain()
                await asyncio.sleep(0.005)
        writer.write(chunk(END) + b"0\r\n\r\n")

    (steps,), _ = ask(1, write)

    assert text_of(steps) == "".join(WORDS)
    assert len(steps) > 2


@pytest.mark.parametrize("code", ["context_length_exceeded", "template_refuses", "not_supported"])
def test_a_refusal_that_is_the_request_s_fault_is_told_as_such(code: str) -> None:
    """What the engine cannot do with this request is the client's 400, not the gateway's 502."""

    async def write(writer: asyncio.StreamWriter) -> None:
        body = b'{"error":{"code":"%s"}}' % code.encode()
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with pytest.raises(BadRequest) as caught:
        ask(1, write)

    assert (caught.value.status, caught.value.code) == (400, code)

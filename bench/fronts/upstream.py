"""
What stands behind every front: an OpenAI-compatible server that streams ordinary words, as fast as it goes or paced.

It runs in a process of its own and needs nothing but the standard library. What a request's text says decides how it
is answered: with `PACED`, a token every `--pace-ms`; with `FORBIDDEN`, with a forbidden phrase in the middle; with the
name of a fault in `FAULTS`, wrongly; else with all tokens at once. A paced reply to a request with a ticket has its
number as first and last token, so that a client sees whether the whole reply is its own. It prints its URL and serves
until its input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

PACED = "answer slowly"
FORBIDDEN = "say what you must not"
PHRASES = (
    "blue harvest",
    "glass anvil",
    "velvet hammer",
    "paper tiger seven",
    "quiet orchard",
    "seven lanterns",
)
"""What every front has to keep from passing; nothing of it means anything."""
CUT_AFTER_TOKENS = 5
GIANT_BYTES = 4_000_000

_TEXT = (
    "The library opens at nine and closes at six on weekdays . Bring a card , or ask at the desk for one ; it takes"
    " five minutes and costs nothing . Children may borrow up to ten books at a time , adults twenty . If you return"
    " them late , a small fee is added for each day , and a reminder goes out by mail . The reading room upstairs is"
    " quiet , while the hall below is meant for groups who want to talk . On Saturdays there is a story hour , and in"
    " the evening a club meets to discuss one novel a month . Computers can be used for an hour , longer if nobody"
    " waits . Ask the staff to make a copy , to reserve a table , or to find what you could not find yourself ."
)
_WORDS = _TEXT.split()

_STREAMED = re.compile(rb'"stream"\s*:\s*true')
_TICKET = re.compile(rb"ticket (\d+)")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def words(tokens: int) -> list[str]:
    """Return the tokens of a reply."""
    return [(" " if at else "") + _WORDS[at % len(_WORDS)] for at in range(tokens)]


def with_ticket(ticket: str, tokens: int) -> str:
    """Return the text of a paced reply to a request that names a ticket."""
    return f"{ticket}: {''.join(words(tokens))} {ticket}"


def forbidden_words(tokens: int) -> list[str]:
    """Return the tokens of a reply with a forbidden phrase in the middle, in two tokens."""
    said = words(tokens)
    return [*said[: tokens // 2], *(f" {word}" for word in PHRASES[0].split()), *said[tokens // 2 :]]


def _event(choices: list[object], **more: object) -> bytes:
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    body = {**frame, "choices": choices, **more}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _token(delta: object, finish_reason: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Reply:
    """A reply of so many tokens, ready to be sent in every form."""

    def __init__(self, said: Sequence[str]) -> None:
        usage = {"prompt_tokens": 20, "completion_tokens": len(said), "total_tokens": 20 + len(said)}
        self.events = [_http_chunk(_token({"content": word})) for word in said]
        self.first = _EVENT_STREAM + _http_chunk(_token({"role": "assistant", "content": ""}))
        self.last = b"".join(
            [
                _http_chunk(_token({}, "stop")),
                _http_chunk(_event([], usage=usage)),
                _http_chunk(b"data: [DONE]\n\n"),
            ]
        )
        self.end = b"0\r\n\r\n"
        self.streamed = b"".join([self.first, *self.events, self.last, self.end])
        message = {"role": "assistant", "content": "".join(said)}
        body = json.dumps(
            {
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench", "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
        ).encode()  # fmt: skip
        self.whole = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )


@dataclass(frozen=True)
class Replies:
    """What it can say."""

    short: Reply
    paced: Reply
    forbidden: Reply


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, replies: Replies, pace_s: float) -> None:
        self._replies = replies
        self._pace_s = pace_s
        self._got = b""
        self._sending: Iterator[bytes] = iter(())
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._paused = False
        self._endless: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Send nothing more."""
        del exc
        if self._timer:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Wait until the other side reads: an endless reply must not fill this process's memory."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if self._endless:
            self._more()

    def data_received(self, data: bytes) -> None:
        """Answer each request once it is whole."""
        self._got += data
        while True:
            head, mark, rest = self._got.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if not mark or len(rest) < length:
                return
            self._got = rest[length:]
            self._answer(rest[:length])

    def _answer(self, body: bytes) -> None:
        if self._timer:
            self._timer.cancel()  # of the reply before: it would double the pace
        fault = next((one for name, one in FAULTS.items() if name.encode() in body), None)
        paced = PACED.encode() in body
        reply = self._replies.paced if paced else self._replies.short
        reply = self._replies.forbidden if FORBIDDEN.encode() in body else reply
        if ENDLESS.encode() in body:
            self._transport.write(reply.first)
            self._endless = reply.events
            self._more()
        elif fault:
            fault(self._transport, reply)
        elif not _STREAMED.search(body):
            self._transport.write(reply.whole)
        elif paced:
            self._transport.write(reply.first)
            self._sending = iter([*_events(body, reply), reply.last + reply.end])
            self._due = self._loop.time()
            self._next()
        else:
            self._transport.write(reply.streamed)

    def _next(self) -> None:
        data = next(self._sending, None)
        if data is None or self._transport.is_closing():
            return
        self._transport.write(data)
        self._due += self._pace_s
        self._timer = self._loop.call_at(self._due, self._next)

    def _more(self) -> None:
        """Send as much again; others get their turn in between."""
        if not self._paused and not self._transport.is_closing():
            self._transport.write(b"".join(self._endless))
            self._timer = self._loop.call_soon(self._more)


def _events(body: bytes, reply: Reply) -> list[bytes]:
    found = _TICKET.search(body)
    if not found:
        return reply.events
    ticket = found[1].decode()
    first, last = (_http_chunk(_token({"content": text})) for text in (f"{ticket}: ", f" {ticket}"))
    return [first, *reply.events, last]


def _some(reply: Reply) -> bytes:
    return reply.first + b"".join(reply.events[:CUT_AFTER_TOKENS])


def _killed(transport: asyncio.Transport, reply: Reply) -> None:
    transport.write(_some(reply))
    transport.abort()


def _cut(transport: asyncio.Transport, reply: Reply) -> None:
    transport.write(_some(reply) + reply.events[CUT_AFTER_TOKENS][:40])
    transport.close()


def _hung(transport: asyncio.Transport, reply: Reply) -> None:
    transport.write(_some(reply))


def _silent(transport: asyncio.Transport, reply: Reply) -> None:
    del transport, reply


def _lying(transport: asyncio.Transport, reply: Reply) -> None:
    del reply
    body = _token({"content": "The"})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % (
        len(body) + 1000
    )
    transport.write(head + body)
    transport.close()


def _short(transport: asyncio.Transport, reply: Reply) -> None:
    body = b"".join(_token({"content": word}) for word in words(8))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 50\r\n\r\n"
    transport.write(head + body)
    del reply


def _malformed(transport: asyncio.Transport, reply: Reply) -> None:
    transport.write(
        _some(reply) + _http_chunk(b'data: {"choices": [{"index": 0, "delta": {"cont\n\n') + reply.end
    )


def _giant(transport: asyncio.Transport, reply: Reply) -> None:
    transport.write(_some(reply) + _http_chunk(b"data: " + b"x" * GIANT_BYTES) + reply.end)


def _no_text(transport: asyncio.Transport, reply: Reply) -> None:
    event = _token({"content": "The"}).replace(b"The", b"\xff\xfe\xc3")
    transport.write(_some(reply) + _http_chunk(event) + reply.last + reply.end)


def _page(transport: asyncio.Transport, reply: Reply) -> None:
    del reply
    body = b"<html><body>The library opens at nine.</body></html>"
    transport.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )


FAULTS: dict[str, Callable[[asyncio.Transport, Reply], None]] = {
    "upstream is killed": _killed,
    "upstream cuts a token": _cut,
    "upstream hangs": _hung,
    "upstream is silent": _silent,
    "upstream claims more": _lying,
    "upstream claims less": _short,
    "upstream is malformed": _malformed,
    "upstream sends a giant line": _giant,
    "upstream sends no text": _no_text,
    "upstream sends a page": _page,
}
"""In the text of a request: how to misbehave."""
ENDLESS = "upstream never ends"
"""Likewise: text for as long as somebody takes it."""


async def serve(replies: Replies, pace_s: float) -> None:
    """Serve on a free port until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(replies, pace_s), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, required=True, help="of a reply at once")
    parser.add_argument("--paced-tokens", type=int, required=True)
    parser.add_argument("--pace-ms", type=float, default=5.0)
    given = parser.parse_args()
    short, paced, forbidden = words(given.tokens), words(given.paced_tokens), forbidden_words(given.tokens)
    asyncio.run(serve(Replies(Reply(short), Reply(paced), Reply(forbidden)), given.pace_ms / 1000))

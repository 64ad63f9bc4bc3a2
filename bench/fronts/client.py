"""Clients of a front on bare connections, so that they cost little beside what they measure."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_TEXT = re.compile(rb'"content":\s?"(?!")')
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
DONE = b"data: [DONE]"
KEY = "sk-9b1f6d0c2e7a4835b6c1d2e3f4a5b6c7"
"""Sent with every request; who has keys knows this one."""
LIMIT_S = 60.0
"""After which a reply is given up."""


@dataclass
class Answer:
    """One reply: the bytes after its head, and when what came. Times count from the request, in seconds."""

    status: int = 0
    body: bytes = b""
    first_text_s: float | None = None
    took_s: float = 0.0
    broken: str = ""

    @property
    def good(self) -> bool:
        """Whether it is a whole reply; a stream must say that it is done."""
        return (
            self.status == 200 and not self.broken and (b"data:" not in self.body[:200] or DONE in self.body)
        )

    def text(self) -> str:
        """Return what the model is said to have said."""
        return "".join(_texts(unchunked(self.body)))


def unchunked(body: bytes) -> bytes:
    """Return a body without its transfer encoding, if it has one."""
    out, rest = b"", body
    while True:
        head, mark, rest = rest.partition(b"\r\n")
        if not mark or not re.fullmatch(rb"[0-9a-fA-F]{1,8}", head):
            return out or body
        out, rest = out + rest[: int(head, 16)], rest[int(head, 16) + 2 :]


def _texts(body: bytes) -> Iterator[str]:
    lines = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:")] or [body]
    for line in lines:
        try:
            choices = json.loads(line).get("choices") or []
        except ValueError:
            continue
        for choice in choices:
            yield (choice.get("delta") or choice.get("message") or {}).get("content") or ""


class Connection(asyncio.Protocol):
    """A connection that asks one thing at a time."""

    def __init__(self) -> None:
        self._answer = Answer()
        self._done: asyncio.Future[Answer] | None = None
        self._needs: int | None = None
        self._head = True
        self._parts: list[bytes] = []
        self._size = 0
        self._tail = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End a reply that is under way: as broken, unless it was to last until here."""
        self.closed = True
        if self._done and not self._done.done():
            self._end("" if exc is None and not self._head and self._needs == -1 else "cut off")

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future gives its answer."""
        self._answer, self._head, self._needs, self._parts, self._size, self._tail = (
            Answer(),
            True,
            None,
            [],
            0,
            b"",
        )
        self._done = asyncio.get_running_loop().create_future()
        self._started = time.perf_counter()
        self.transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        """Take what came, until the reply is whole."""
        if self._done is None or self._done.done():
            return
        if self._head:
            self._tail += data
            head, mark, data = self._tail.partition(b"\r\n\r\n")
            if not mark:
                return
            self._read_head(head)
            self._tail = b""
        self._parts.append(data)
        self._size += len(data)
        seen = self._tail + data
        if self._answer.first_text_s is None and _TEXT.search(seen):
            self._answer.first_text_s = time.perf_counter() - self._started
        self._tail = seen[-16:]
        if self._size == self._needs or (self._needs is None and self._tail.endswith(b"0\r\n\r\n")):
            self._end("")

    def _read_head(self, head: bytes) -> None:
        self._head = False
        status = _STATUS.match(head)
        length = _LENGTH.search(head)
        chunked = b"chunked" in head.lower()
        self._answer.status = int(status[1]) if status else 0
        self._needs = int(length[1]) if length else None if chunked else -1

    def _end(self, broken: str) -> None:
        assert self._done is not None
        self._answer.body = b"".join(self._parts)
        self._answer.broken = broken
        self._answer.took_s = time.perf_counter() - self._started
        self._done.set_result(self._answer)


class Client:
    """A client of one front, with a connection that is kept."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._host, self._port = str(at.hostname), int(at.port or 80)
        self._connection: Connection | None = None

    async def ask(self, request: bytes, limit_s: float = LIMIT_S) -> Answer:
        """Return the answer; a broken one where none came."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        try:
            if self._connection is None or self._connection.closed:
                _, self._connection = await loop.create_connection(Connection, self._host, self._port)
            return await asyncio.wait_for(self._connection.ask(request), limit_s)
        except (OSError, TimeoutError) as exc:
            self.close()
            return Answer(broken=type(exc).__name__, took_s=time.perf_counter() - started)

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.transport.abort()
            self._connection = None


def chat_request(model: str, text: str, **fields: Any) -> bytes:
    """Return the bytes of a chat completion request."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **fields}).encode()
    return post("/v1/chat/completions", body)


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a request with a JSON body."""
    all_headers = {
        "host": "127.0.0.1",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    lines = [f"{name}: {value}" for name, value in (all_headers | dict(headers or {})).items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


@dataclass
class Load:
    """What came of asking for a while."""

    answers: int = 0
    bad: list[Answer] = field(default_factory=list)
    first_text_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Count an answer; only bad ones are kept."""
        self.answers += 1
        self.took_s.append(answer.took_s)
        if not answer.good:
            self.bad.append(answer)
        elif answer.first_text_s is not None:
            self.first_text_s.append(answer.first_text_s)


async def ask_for(url: str, request: bytes, *, connections: int, seconds: float) -> Load:
    """Ask the same over some connections, one at a time on each, until the time is up; replies end first."""
    load = Load()
    until = time.perf_counter() + seconds

    async def one() -> None:
        client = Client(url)
        while True:
            load.add(await client.ask(request))
            if time.perf_counter() >= until or load.bad[16:]:
                break
        client.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return load

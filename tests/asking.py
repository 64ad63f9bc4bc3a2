"""Gateways on real logs before a server on bare sockets, and what a client gets of them, byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from gateways import MODEL, Recheck, make_gateway_policy, make_verified
from recert.gateway.access.keys import ApiKeys
from recert.gateway.serving.server import GatewayServer
from recert.gateway.stage import prepare
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.store.audit.log import AuditLog

Answer = Callable[[socket.socket], None]
"""Writes a reply, or what there is of one, to a connection."""
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
)


def event(text: str, finish_reason: str | None = None) -> bytes:
    """Return one server-sent event."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """Return data in its transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END = chunk(event("", "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n"
"""How a reply ends that is in order."""


def sent(connection: socket.socket, *parts: bytes) -> None:
    """Send parts."""
    for part in parts:
        connection.sendall(part)


def replying(*parts: bytes) -> Answer:
    """Send these bytes, and close the connection."""
    return lambda connection: sent(connection, *parts)


class BareUpstream:
    """
    A server on bare sockets. A connection carries one reply.

    Args:
        answers: by the text of the last message.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        """Where it answers."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._answers[self._read(connection)](connection)
            except OSError:  # the other side had enough
                return

    @staticmethod
    def _read(connection: socket.socket) -> str:
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65_536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65_536)
        return str(json.loads(body)["messages"][-1]["content"])

    def __enter__(self) -> BareUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def served(where: Path | str, upstream: str, **options: Any) -> Iterator[GatewayServer]:
    """Run a gateway with its audit log somewhere."""
    policy = make_gateway_policy(**options)
    verified = make_verified(policy)
    with AuditLog(where, node="a") as audit:
        server = prepare(
            verified,
            recheck=Recheck(verified),
            policy=policy,
            audit=audit,
            upstream=UnsafeDeclaredUpstream(upstream),
            keys=ApiKeys(),
        )
        with server:
            yield server


@dataclass
class Got:
    """What a client got."""

    status: int
    text: str = ""
    finish_reason: str = ""
    error: str = ""
    done: bool = False
    request_id: str = ""

    @property
    def whole(self) -> bool:
        """Whether it is a reply that says of itself that it is all there."""
        return self.status == 200 and not self.error and self.finish_reason == "stop"


def ask(url: str, text: str, *, stream: bool) -> Got:
    """Ask on a connection of one's own; return whatever came, also where it was cut off. Status 0: nothing."""
    request = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": stream}
    connection = HTTPConnection(url.removeprefix("http://"), timeout=20)
    got, data = Got(0), b""
    with closing(connection), contextlib.suppress(OSError, HTTPException):
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(request), {"content-type": "application/json"}
        )
        found = connection.getresponse()
        got.status, got.request_id = found.status, found.headers["x-request-id"]
        while part := found.read1():
            data += part
    _read(data, got)
    return got


def _read(data: bytes, got: Got) -> None:
    """Note what a body says, up to where it was cut."""
    lines = [line[5:].strip() for line in data.split(b"\n")[:-1] if line.startswith(b"data:")]
    for line in lines or [data]:
        if line == b"[DONE]":
            got.done = True
            continue
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            got.error = value["error"]["code"] if "error" in value else got.error
            for choice in value.get("choices", ()):
                got.text += choice.get("delta", choice.get("message")).get("content") or ""
                got.finish_reason = choice["finish_reason"] or got.finish_reason

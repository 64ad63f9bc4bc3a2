"""Raw connections to a gateway, for what no HTTP client would send."""

from __future__ import annotations

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

from gateways import MODEL
from recert.gateway.serving.server import GatewayServer

WAIT_S = 10.0


def connect(server: GatewayServer, *, receive_bytes: int = 0) -> socket.socket:
    """Return a connection; with `receive_bytes` the kernel keeps no more than about that for us."""
    to = urlsplit(server.url)
    made = socket.socket()
    if receive_bytes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.settimeout(WAIT_S)
    made.connect((to.hostname, to.port))
    return made


def read_all(made: socket.socket) -> bytes:
    """Return what comes until the other side ends; a reset ends it too."""
    found = b""
    try:
        while block := made.recv(65536):
            found += block
    except ConnectionResetError:
        pass
    return found


def send(server: GatewayServer, data: bytes) -> bytes:
    """Send bytes; return all that comes back until the gateway ends the connection."""
    with connect(server) as made:
        made.sendall(data)
        return read_all(made)


def chat_request(text: str = "Hello", *, last: bool = True, **more: Any) -> bytes:
    """Return a whole chat request; the connection ends after the `last`."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **more}).encode()
    return head(len(body), last=last) + body


def head(length: int, *, last: bool = True) -> bytes:
    """Return the headers of a chat request with a body of that length."""
    lines = [
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Content-Length: %d" % length,
        *([b"Connection: close"] if last else []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the replies in what came back."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def code(data: bytes) -> str:
    """Return the `code` of the last reply's error."""
    found: str = json.loads(data.rpartition(b"\r\n\r\n")[2])["error"]["code"]
    return found

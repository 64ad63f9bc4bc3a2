"""What goes wrong behind, beneath and in the gateway: clients get an error, never half a reply that looks whole."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asking import CHUNKED, END, BareUpstream, ask, chunk, event, replying, sent, served
from recert.digest import sha256_bytes
from recert.store.audit.log import read_log

pytestmark = pytest.mark.slow

TEXT = "The library opens at nine and closes at six."
LIMIT_S = 2.5


SOME = b"".join(chunk(event(f"{word} ")) for word in TEXT.split()[:4])


def killed(connection: socket.socket) -> None:
    """Reset the connection in the middle, as the kernel does for a process that was killed."""
    sent(connection, CHUNKED, SOME)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def hung(connection: socket.socket) -> None:
    """Say nothing more, until the other side has had enough."""
    sent(connection, CHUNKED, SOME)
    connection.recv(1)


def silent(connection: socket.socket) -> None:
    """Say nothing at all."""
    connection.recv(1)


def endless(connection: socket.socket) -> None:
    """Say more for as long as somebody listens."""
    sent(connection, CHUNKED)
    more = chunk(event("more ") * 50)
    while True:
        connection.sendall(more)


def with_length(body: bytes, length: int, kind: bytes = b"text/event-stream") -> bytes:
    """Return a reply that says of itself that it is so long."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, length, body)


FAULTS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "is killed": (killed, "upstream-cut"),
    "hangs in the middle": (hung, "upstream-timeout"),
    "says nothing": (silent, "upstream-timeout"),
    "never ends": (endless, "upstream-endless"),
    "closes at once": (replying(), "upstream-cut"),
    "cuts a token in two": (replying(CHUNKED, SOME, b"40\r\n" + event("opens")[:30]), "upstream-cut"),
    "closes without an end": (replying(CHUNKED, SOME), "upstream-cut"),
    "ends too early": (replying(CHUNKED, SOME, b"0\r\n\r\n"), "upstream-cut"),
    "claims more than it sends": (replying(with_length(event("The "), 5000)), "upstream-cut"),
    "claims less than it sends": (replying(with_length(event("The ") * 9, 30)), "upstream-cut"),
    "claims no length that is one": (
        replying(with_length(event("The "), 5).replace(b": 5\r", b": -5\r")),
        "upstream-cut",
    ),
    "claims two lengths": (
        replying(
            with_length(event("The "), 70).replace(b"content-length", b"content-length: 9\r\ncontent-length")
        ),
        "upstream-cut",
    ),
    "gets its chunks wrong": (replying(CHUNKED + SOME + b"zz\r\nnothing\r\n"), "upstream-cut"),
    "speaks no HTTP": (replying(b"\x16\x03\x01\x02\x00\x01\x00" * 40), "upstream-cut"),
    "breaks its JSON": (
        replying(CHUNKED, SOME, chunk(b'data: {"choices": [{"del\n\n'), END),
        "upstream-malformed",
    ),
    "sends no UTF-8": (
        replying(CHUNKED, SOME, chunk(event("nine").replace(b"nine", b"\xff\xfe\xc3")), END),
        "upstream-malformed",
    ),
    "sends half a character": (
        replying(CHUNKED, SOME, chunk(event("x").replace(b'"x"', b'"\\ud83d"')), END),
        "upstream-malformed",
    ),
    "sends a giant line": (
        replying(CHUNKED, SOME, chunk(b"data: " + b"x" * 1_500_000), END),
        "upstream-malformed",
    ),
    "sends a page": (
        replying(with_length(b"<html>The library</html>", 24, b"text/html")),
        "upstream-cut",
    ),
    "sends JSON that is none": (
        replying(with_length(b"The library", 11, b"application/json")),
        "upstream-malformed",
    ),
    "refuses": (replying(b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nThe"), "upstream-refused"),
    "sends elsewhere": (
        replying(b"HTTP/1.1 307 No\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"),
        "upstream-refused",
    ),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A gateway before a faulty upstream, and its audit log."""
    path = tmp_path_factory.mktemp("faults") / "audit.jsonl"
    answers = {name: fault for name, (fault, _) in FAULTS.items()}
    with (
        BareUpstream(
            answers | {"an ordinary question": replying(CHUNKED, chunk(event(TEXT)), END)}
        ) as upstream,
        served(path, upstream.url, upstream_timeout_s=LIMIT_S) as server,
    ):
        yield server.url, path


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_fails_never_looks_like_one_that_ended(
    faulty: tuple[str, Path], fault: str, *, stream: bool
) -> None:
    """
    The client gets an error with its code, after at most a beginning of the reply; the log has a line that says
    so; and the next request is served.
    """
    url, path = faulty
    got = ask(url, fault, stream=stream)
    after = ask(url, "an ordinary question", stream=stream)
    (line,) = [
        line.body
        for line in read_log(path)
        if line.body["request_id"] == got.request_id and line.body["decision"] != "opened"
    ]

    assert FAULTS[fault][1] == got.error
    assert (got.done, got.finish_reason) == (False, "")
    assert got.status == 200 if got.text else got.status in (502, 504)
    assert stream or not got.text
    if fault != "never ends":
        assert TEXT.startswith(got.text.strip())
    assert ("failed", got.error, sha256_bytes(got.text.encode())) == (
        line["decision"],
        line["reason"],
        line["reply_sha256"],
    )
    assert (after.text, after.error) == (TEXT, "")

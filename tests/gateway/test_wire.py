"""Connections that mean ill, or are slow: raw sockets against a real gateway."""

from __future__ import annotations

import dataclasses
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateways import ScriptedUpstream, ask_stream, client, gateway
from raw_http import chat_request, code, connect, head, read_all, send, statuses
from recert.errors import SettingsError
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.limits import ServerLimits
from recert.gateway.serving.server import GatewayServer


def echo(messages: list[dict[str, str]]) -> list[str]:
    """Answer with the last message."""
    return [messages[-1]["content"]]


@contextmanager
def limited(tmp_path: Path, script: Any = echo, **limits: Any) -> Iterator[GatewayServer]:
    """Run a gateway with such limits."""
    with gateway(tmp_path, script, front=EdgeConfig(ServerLimits(**limits))) as (server, _):
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayServer]:
    """One gateway for requests that are refused."""
    with limited(tmp_path_factory.mktemp("wire"), header_bytes=4096, header_count=20) as made:
        yield made


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
BODY = chat_request().rpartition(b"\r\n\r\n")[2]
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
UNCLEAR: list[tuple[str, bytes, int, str]] = [
    ("length and chunked", POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, 400, "malformed"),
    ("chunked and length", POST + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKED, 400,
     "malformed"),
    ("two lengths", POST + LENGTH + LENGTH + b"\r\n" + BODY, 400, "malformed"),
    ("a list of lengths", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400, "malformed"),
    ("a signed length", POST + b"Content-Length: +3\r\n\r\nabc", 400, "malformed"),
    ("a space before the colon", POST + b"Content-Length : 3\r\n\r\nabc", 400, "malformed"),
    ("chunked twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     "malformed"),
    ("gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED, 400,
     "unsupported_encoding"),
    ("chunked in 1.0", POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, 400,
     "unsupported_encoding"),
    ("a bad chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed"),
    ("trailers", POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n", 400,
     "trailers"),
    ("bare line feeds", POST.replace(b"\r\n", b"\n") + b"\n", 400, "malformed"),
    ("a folded header", POST + b"X: a\r\n b\r\n\r\n", 400, "malformed"),
    ("a null byte", POST + b"X: a\0b\r\n\r\n", 400, "malformed"),
    ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400, "malformed"),
    ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400, "malformed"),
    ("http/2 in clear", POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH + b"\r\n" + BODY, 400,
     "unsupported_upgrade"),
    ("a tunnel", b"CONNECT evil:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "unsupported_upgrade"),
    ("http/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed"),
    ("http/0.9", b"GET /healthz\r\n\r\n", 505, "unsupported_version"),
    ("tls to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed"),
    ("a large header", POST + b"X: " + b"a" * 5000 + b"\r\n\r\n", 431, "headers_too_large"),
    ("a header without end", POST + b"X: " + b"a" * 2_000_000, 431, "headers_too_large"),
    ("a long path", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431,
     "headers_too_large"),
    ("many headers", POST + b"".join(b"X-%d: a\r\n" % n for n in range(30)) + b"\r\n", 431,
     "headers_too_large"),
    ("a packed body", POST + b"Content-Encoding: gzip\r\nConnection: close\r\n" + LENGTH + b"\r\n" + BODY,
     415, "unsupported_encoding"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "status", "why"), [u[1:] for u in UNCLEAR], ids=[u[0] for u in UNCLEAR])
def test_what_could_be_understood_in_two_ways_is_refused(
    server: GatewayServer, data: bytes, status: int, why: str
) -> None:
    """Each gets one reply with an OpenAI-shaped error, and nothing after it is read as a request."""
    got = send(server, data + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert ([status], why) == (statuses(got), code(got))


def test_chunked_bodies_are_read(server: GatewayServer) -> None:
    """A body in chunks, which is all that there may be in their place, is answered."""
    got = send(server, POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + CHUNKED)

    assert statuses(got) == [200]


def test_pipelined_requests_are_answered_in_order(server: GatewayServer) -> None:
    """Three requests in one packet: three replies, each to its own question."""
    texts = ["first", "second", "third"]
    got = send(server, b"".join(chat_request(text, last=text == "third") for text in texts))
    said = [part.partition(b"}")[0] for part in got.split(b'"content":"')[1:]]

    assert statuses(got) == [200, 200, 200]
    assert texts == [one.partition(b'"')[0].decode() for one in said]


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", POST + b"Transfer-Encoding: gzip\r\n\r\n", POST * 9])
def test_a_bad_request_behind_a_stream_never_gets_into_it(tmp_path: Path, bad: bytes) -> None:
    """The stream before it arrives whole; then the refusal, as a reply of its own."""
    upstream = ScriptedUpstream(lambda _: ["one ", "two ", "three"], pause_s=0.1)
    with limited(tmp_path, upstream, header_bytes=2048, header_count=20) as server, connect(server) as made:
        made.sendall(chat_request(stream=True, last=False))
        time.sleep(0.05)
        made.sendall(bad)
        got = read_all(made)
    stream, _, refusal = got.partition(b"0\r\n\r\n")

    assert b"three" in stream and b"[DONE]" in stream and b"error" not in stream
    assert len(statuses(refusal)) == 1 and statuses(refusal)[0] in (400, 431)


def test_a_broken_request_behind_another_is_never_begun(tmp_path: Path) -> None:
    """Its body breaks off while an earlier one is answered: one exchange, and a refusal."""
    upstream = ScriptedUpstream(lambda _: ["one ", "two "], pause_s=0.1)
    with limited(tmp_path, upstream) as server:
        broken = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh"
        got = send(server, chat_request(last=False) + broken)

    assert statuses(got) == [200, 400]
    assert [body["decision"] for body in exchanges(tmp_path)] == ["released"]


def test_many_pipelined_requests_do_not_pile_up(tmp_path: Path) -> None:
    """Of a thousand behind a stream only as many as may wait are answered; the others are refused together."""
    upstream = ScriptedUpstream(lambda _: ["one ", "two "], pause_s=0.1)
    with limited(tmp_path, upstream, pipelined=4) as server:
        many = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
        got = send(server, chat_request(stream=True, last=False) + many)

    assert statuses(got) == [200] * 5 + [400]
    assert code(got) == "too_many_pipelined"


@pytest.mark.slow
def test_headers_that_do_not_come_end_the_connection(tmp_path: Path) -> None:
    """Nothing at all, half a request line, a header a moment, or blank lines after a reply: 408, and the end."""
    with limited(tmp_path, headers_s=0.3, idle_s=60) as server:
        silent = send(server, b"")
        half = send(server, b"GET /heal")
        with connect(server) as drip:
            drip.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            started = time.monotonic()
            with pytest.raises(OSError):
                while time.monotonic() - started < 8:
                    drip.sendall(b"X-A: b\r\n")
                    time.sleep(0.05)
            took_s = time.monotonic() - started
        with connect(server) as kept:
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            kept.recv(65536)
            kept.sendall(b"\r\n")
            blank = read_all(kept)

    assert [code(silent), code(half), code(blank)] == ["headers_timeout"] * 3
    assert took_s < 5


@pytest.mark.slow
def test_bodies_that_do_not_come_end_the_request(tmp_path: Path) -> None:
    """A body that drips is 408 on time; one that nobody waits for any more is cut."""
    with limited(tmp_path, body_s=0.3) as server:
        late = send(server, head(1000) + b"{")
        with connect(server) as drip:
            drip.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
            started = time.monotonic()
            with pytest.raises(OSError):
                while time.monotonic() - started < 8:
                    drip.sendall(b"x")
                    time.sleep(0.05)
            took_s = time.monotonic() - started

    assert statuses(late) == [408]
    assert code(late) == "body_timeout"
    assert took_s < 5


def test_a_reader_that_stops_is_cut_and_its_stream_ends(tmp_path: Path) -> None:
    """No more of the reply is released than fits between; the audit log says that the client went."""
    upstream = ScriptedUpstream(lambda _: ["word " * 2000] * 300, pause_s=0.005)
    with (
        limited(tmp_path, upstream, reader_s=0.5, reader_bytes=4096) as server,
        connect(server, receive_bytes=2048) as made,
    ):
        made.sendall(chat_request(stream=True))
        wait_until(lambda: exchanges(tmp_path) and exchanges(tmp_path)[-1]["decision"] != "opened")
        last = exchanges(tmp_path)[-1]

    assert (last["decision"], last["reason"]) == ("failed", "client-gone")
    assert last["released_chars"] < 1_500_000


@pytest.mark.parametrize("after", [0, 1])
def test_a_request_ends_when_its_client_goes_whatever_waits_on_the_connection(
    tmp_path: Path, after: int
) -> None:
    """The model's time is not spent for nobody: not behind an earlier reply, and not before a later request."""
    upstream = ScriptedUpstream(lambda _: ["word "] * 2000, pause_s=0.01)
    with limited(tmp_path, upstream) as server:
        with connect(server) as made:
            made.sendall(HEALTH.replace(b"Connection: close\r\n", b"") * after)
            made.sendall(chat_request(stream=True) + (b"" if after else HEALTH))
            wait_until(lambda: exchanges(tmp_path))
        wait_until(lambda: exchanges(tmp_path)[-1]["decision"] != "opened")
        last = exchanges(tmp_path)[-1]

    assert (last["decision"], last["reason"]) == ("failed", "client-gone")
    assert last["seconds"] < 5


def healthy(server: GatewayServer) -> bool:
    """Say whether a new connection is served."""
    return statuses(send(server, HEALTH)) == [200]


def exchanges(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the exchanges in the audit log as they stand."""
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    return [json.loads(line)["body"] for line in lines]


def wait_until(true: Any, limit_s: float = 10.0) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


def test_connections_are_capped_by_address_and_in_all(tmp_path: Path) -> None:
    """The one too many is told when to come back, and is served once another has gone."""
    for limits, status in (
        ({"connections_per_address": 3}, 429),
        ({"connections": 3}, 503),
    ):
        with limited(tmp_path / str(status), **limits) as server, ExitStack() as held:
            first, *_ = [held.enter_context(connect(server)) for _ in range(3)]
            refused = send(server, HEALTH)
            first.close()
            wait_until(partial(healthy, server))

        assert ([status], "too_many_connections") == (statuses(refused), code(refused))
        assert b"\r\nretry-after: 1\r\n" in refused


def test_requests_beyond_the_cap_are_told_to_come_back(tmp_path: Path) -> None:
    """With two streams under way and room for two, a third is 503 with Retry-After, and health is answered."""
    upstream = ScriptedUpstream(lambda _: ["word "] * 20, pause_s=0.05)
    with limited(tmp_path, upstream, requests=2) as server, ExitStack() as held:
        for _ in range(2):
            made = held.enter_context(connect(server))
            made.sendall(chat_request(stream=True))
            made.recv(10)
        third = send(server, chat_request())
        health = httpx.get(server.url + "/healthz")

    assert (statuses(third), code(third)) == ([503], "overloaded")
    assert b"\r\nretry-after: 1\r\n" in third and b"x-should-retry" not in third
    assert health.status_code == 200


@pytest.mark.slow
def test_slow_clients_in_numbers_do_not_keep_others_out(tmp_path: Path) -> None:
    """500 that drip headers, 500 that drip bodies and 500 that do not read: others are answered, and all are cut."""
    status = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 16
    limits = {"headers_s": 3.0, "body_s": 2.0, "reader_s": 3.0, "reader_bytes": 4096}
    with limited(tmp_path, **limits) as server, ExitStack() as held, client(server) as made:
        slow = []
        for data, receive_bytes in ((b"GET /healthz HT", 0), (head(500) + b"{", 0), (status, 2048)):
            for _ in range(500):
                one = held.enter_context(connect(server, receive_bytes=receive_bytes))
                one.sendall(data)
                slow.append(one)
        waits_s = []
        for _ in range(20):
            started = time.monotonic()
            assert ask_stream(made, "good morning") == ("good morning", "stop")
            waits_s.append(time.monotonic() - started)
        wait_until(lambda: len(server.connections) <= 1, 20)
        ended = server.connections.ended

    # the first may wait while a busy machine takes up 1,500 connections at once
    assert statistics.median(waits_s) < 1
    assert sum(waits_s) < 20
    assert ended["headers_timeout"] == 500
    assert ended["slow-reader"] > 400


@pytest.mark.slow
def test_a_gateway_that_ends_says_so_and_lets_replies_end(tmp_path: Path) -> None:
    """Health is 503 first, while requests are taken; short replies end whole, long ones with an error."""
    short, long = ["a "] * 10, ["b "] * 500
    upstream = ScriptedUpstream(
        lambda messages: long if messages[-1]["content"] == "long" else short, pause_s=0.05
    )
    said: dict[str, bytes] = {}
    with limited(tmp_path, upstream, notice_s=0.4, drain_s=1.0) as server, ExitStack() as held:
        streams = {name: held.enter_context(connect(server)) for name in ("short", "long")}
        for name, made in streams.items():
            made.sendall(chat_request(name, stream=True, last=False))
            made.recv(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        wait_until(lambda: httpx.get(server.url + "/healthz").status_code == 503)
        late = send(server, chat_request("late"))
        for name, made in streams.items():
            said[name] = read_all(made)
        stopping.join(10)

    assert statuses(late) == [200]
    assert b"[DONE]" in said["short"] and b"error" not in said["short"]
    assert b"[DONE]" not in said["long"] and b'"code":"stopping"' in said["long"]
    assert not stopping.is_alive()
    reasons = {body["reason"] for body in exchanges(tmp_path) if body["decision"] == "refused"}
    assert reasons == {"stopping"}


@pytest.mark.parametrize(
    "given", ["headers_s", "headers_s=", "headers_s=0", "body_s=nan", "speed=3", "requests=1.5"]
)
def test_limits_that_are_none_are_refused(given: str) -> None:
    """A misspelt limit, or one that bounds nothing, is an error and never a default."""
    with pytest.raises(SettingsError):
        ServerLimits.parse([given])


def test_limits_are_given_by_name() -> None:
    """Each is a number; the others stay as they are."""
    found = ServerLimits.parse(["headers_s=2.5", "connections=10"])

    assert (found.headers_s, found.connections, found.body_s) == (2.5, 10, ServerLimits().body_s)


def test_every_limit_is_in_the_guide() -> None:
    """The guide's table has every limit."""
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "serve.md").read_text()

    assert [f.name for f in dataclasses.fields(ServerLimits) if f"`{f.name}`" not in guide] == []

"""The gateway killed, its disk full, its database gone: what clients got, and what the audit log says of it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from asking import CHUNKED, END, BareUpstream, Got, ask, chunk, event, sent, served
from disks import full_disk
from postgres import server as postgres
from recert.digest import sha256_bytes
from recert.store.audit.chain import AuditLine
from recert.store.audit.log import read_log
from recert.store.audit.reading import check_log, open_log
from recert.store.database import upgrade

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
WORDS = [f"{word} " for word in ["The", "library", "opens", "at", "nine", "and", "closes", "at", "six."]]
TEXT = "".join(WORDS)
CLIENTS, ROUNDS, SEED = 6, 3, 20261125
GATEWAY = """
import sys
from asking import served
with served(sys.argv[1], sys.argv[2]) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


def slowly(pause_s: float) -> Callable[[socket.socket], None]:
    """Return an answer that comes word by word."""

    def answer(connection: socket.socket) -> None:
        sent(connection, CHUNKED)
        for word in WORDS:
            time.sleep(pause_s)
            sent(connection, chunk(event(word)))
        sent(connection, END)

    return answer


@pytest.fixture
def upstream() -> Iterator[BareUpstream]:
    """A server that answers soon, or late."""
    with BareUpstream({"soon": slowly(0.004), "late": slowly(0.2)}) as made:
        yield made


class Asking:
    """Clients that ask all the time, half of them for streams, while a block runs."""

    def __init__(self, url: str) -> None:
        self.timed: list[tuple[float, float, Got]] = []
        """When each request began and ended, and what came of it."""
        self._url = url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(at % 2 == 0,)) for at in range(CLIENTS)]

    def _ask_on(self, stream: bool) -> None:  # noqa: FBT001 - one argument, given to a thread
        while not self._ended.is_set():
            began = time.monotonic()
            found = ask(self._url, "soon", stream=stream)
            self.timed.append((began, time.monotonic(), found))

    @property
    def got(self) -> list[Got]:
        """What clients got so far."""
        return [found for _, _, found in self.timed]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def require_lines(got: Sequence[Got], lines: Sequence[AuditLine]) -> None:
    """Return when every reply that a client got, or got the beginning of, has the lines that it must have."""
    last = {line.body["request_id"]: line.body for line in lines if line.body.get("decision") == "released"}
    opened = {line.body["request_id"] for line in lines if line.body.get("decision") == "opened"}
    for one in got:
        if one.whole:
            assert one.text == TEXT
            assert last[one.request_id]["reply_sha256"] == sha256_bytes(one.text.encode())
        elif one.text:
            assert one.request_id in opened


@contextmanager
def process(log: Path, url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a gateway as a process of its own; give it and its URL. It is killed at the end."""
    running = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(log), url],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stdout is not None
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def test_a_killed_gateway_has_a_line_for_every_reply_that_left(
    tmp_path: Path, upstream: BareUpstream
) -> None:
    """
    SIGKILL at any moment under load, again and again: what clients got whole is in the log as they got it, of what
    they got in part the log knows, `recert audit verify` says yes, and the next gateway goes on with the chain.
    """
    log, chance = tmp_path / "audit.jsonl", random.Random(SEED)
    got: list[Got] = []
    lasted: list[int] = []
    for _ in range(ROUNDS):
        with process(log, upstream.url) as (running, url):
            with Asking(url) as clients:
                time.sleep(chance.uniform(0.2, 0.6))
                running.kill()
                running.wait()
            got += clients.got
        verified = subprocess.run(
            [sys.executable, "-m", "recert", "audit", "verify", str(log)], capture_output=True, check=False
        )
        lasted.append(check_log(log).lines)
        require_lines(got, read_log(log))

        assert verified.returncode == 0, verified.stderr
    with served(log, upstream.url) as server:
        after = ask(server.url, "soon", stream=False)
    lines = read_log(log)

    assert sum(one.whole for one in got) > 5 * ROUNDS
    assert any(one.text and not one.whole for one in got), "every kill came between two replies"
    assert sorted(set(lasted)) == lasted
    assert after.text == TEXT
    assert after.request_id == lines[-1].body["request_id"]


def test_a_disk_that_is_full_for_a_while_costs_answers_and_no_line(
    tmp_path: Path, upstream: BareUpstream
) -> None:
    """Under load: while there is no room nothing leaves, afterwards all is served, and the log tells it all."""
    log = tmp_path / "audit.jsonl"
    with served(log, upstream.url) as server, Asking(server.url) as clients:
        time.sleep(0.3)
        with full_disk(log.stat().st_size + 20):
            full_at = time.monotonic()
            time.sleep(0.4)
            free_at = time.monotonic()
        time.sleep(0.4)
    during = [found for began, ended, found in clients.timed if full_at < began and ended < free_at]
    after = [found for began, _, found in clients.timed if began > free_at + 0.05]
    lines = read_log(log)
    require_lines(clients.got, lines)

    assert {(one.status, one.error, one.text) for one in during} == {(503, "audit-unavailable", "")}
    assert [one for one in after if not one.whole] == []
    assert {line.body["request_id"] for line in lines if line.body["decision"] == "released"} == {
        one.request_id for one in clients.got if one.whole
    }


def test_a_database_that_goes_stops_replies_and_comes_back(upstream: BareUpstream) -> None:
    """
    Without its database the gateway releases nothing: a running stream ends with an error, plain and streamed
    requests get 503. When it is back they are served, and the chain holds.
    """

    got: list[Got] = []
    with postgres() as database:
        where = database.database()
        upgrade(where)
        with served(where, upstream.url) as server:
            got += [ask(server.url, "soon", stream=stream) for stream in (True, False)]
            late = threading.Thread(target=lambda: got.append(ask(server.url, "late", stream=True)))
            late.start()
            time.sleep(0.6)
            database.stop()
            gone = [ask(server.url, "soon", stream=stream) for stream in (True, False) * 3]
            late.join()
            database.start()
            until = time.monotonic() + 10
            while not (again := ask(server.url, "soon", stream=True)).whole:
                assert time.monotonic() < until, again
                time.sleep(0.1)
            got.append(again)
        checked = check_log(where)
        lines = list(open_log(where))
    require_lines(got, lines)

    assert [one.whole for one in got] == [True, True, False, True]
    assert (got[2].error, got[2].done, bool(got[2].text)) == ("audit-unavailable", False, True)
    assert {(one.status, one.error, one.text) for one in gone} == {(503, "audit-unavailable", "")}
    assert checked.lines == len(lines)

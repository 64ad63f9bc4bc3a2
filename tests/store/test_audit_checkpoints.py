"""Signed checkpoints: what somebody who can write the log, and not sign, cannot hide."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import full_disk
from logs import NODE, audit_key, exchange, plan, write_log
from recert.certification import SigningKey
from recert.digest import sha256_bytes
from recert.errors import RecertError, RecordError, SettingsError, StoreError
from recert.records.live.audit import AuditCheckpoint
from recert.store.audit.chain import GENESIS, next_line
from recert.store.audit.checkpoints import CheckpointPlan, read_checkpoints, signed_path
from recert.store.audit.file import segments
from recert.store.audit.log import AuditLog, checkpoint_path
from recert.store.audit.reading import check_log


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A key for checkpoints."""
    return audit_key(tmp_path_factory.mktemp("key"))


def rewrite(path: Path, count: int) -> None:
    """Put another log in a log's place, whole in itself, as whoever may write its files can."""
    seq, head, lines = 0, GENESIS, []
    for number in range(count):
        body = json.dumps({"request_id": f"other{number}"}).encode()
        raw = next_line(seq, head, "exchange", b'"2026-01-01T00:00:00+00:00"', body)
        seq, head = seq + 1, sha256_bytes(raw)
        lines.append(raw + b"\n")
    path.write_bytes(b"".join(lines))
    checkpoint_path(path).write_text(json.dumps({"seq": seq, "sha256": head}))


def test_a_log_holds_against_checkpoints_kept_elsewhere(tmp_path: Path, key: SigningKey) -> None:
    """Checkpoints come every so many lines and at the end, beside the log and elsewhere, and all of them fit."""
    path = write_log(tmp_path / "audit.jsonl", 35, checkpoints=plan(key, tmp_path / "elsewhere"))
    found = check_log(path, keys=[key.public], copies=[tmp_path / "elsewhere"])
    last = list(read_checkpoints(tmp_path / "elsewhere", [key.public]))[-1]

    assert (found.lines, found.signed, found.unsigned, found.ended) == (35, 35, 0, True)
    assert (f"{NODE}/audit.jsonl", 35, True) == (last.source, last.seq, last.final)
    assert signed_path(path).read_bytes() == next((tmp_path / "elsewhere").iterdir()).read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whoever_cannot_sign_cannot_rewrite_what_was_signed(
    tmp_path_factory: pytest.TempPathFactory, key: SigningKey, data: st.DataObject
) -> None:
    """Cut off, changed with the chain made anew, or replaced: the log is refused by the copies elsewhere."""
    folder = tmp_path_factory.getbasetemp() / "signed"
    if not folder.exists():
        write_log(folder / "audit.jsonl", 35, checkpoints=plan(key, folder / "elsewhere"))
    other = tmp_path_factory.mktemp("other")
    path = other / "audit.jsonl"
    raw = (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)
    how = data.draw(st.sampled_from(["cut", "change", "replace"]))
    if how == "replace":
        rewrite(path, data.draw(st.integers(0, 60)))
    else:
        at = data.draw(st.integers(0, 34))
        lines, head = raw[:at], (sha256_bytes(raw[at - 1][:-1]) if at else GENESIS)
        for number in range(at, at if how == "cut" else 35):
            line = next_line(number, head, "exchange", b'""', b'{"decision":"released"}')
            head = sha256_bytes(line)
            lines.append(line + b"\n")
        path.write_bytes(b"".join(lines))
        checkpoint_path(path).write_text(json.dumps({"seq": len(lines), "sha256": head}))

    assert check_log(path) is not None
    with pytest.raises(RecordError):
        check_log(path, keys=[key.public], copies=[folder / "elsewhere"])


def test_a_gateway_does_not_go_on_with_a_log_that_was_rewritten(tmp_path: Path, key: SigningKey) -> None:
    """The checkpoints beside a log are looked at before it is written again."""
    path = write_log(tmp_path / "audit.jsonl", 12, checkpoints=plan(key))
    rewrite(path, 12)

    with pytest.raises(RecordError):
        AuditLog(path, node=NODE, checkpoints=plan(key))


def test_without_a_signed_checkpoint_a_key_says_no(tmp_path: Path, key: SigningKey) -> None:
    """A log that was never signed, checkpoints of another key, of another log, and forged ones are refused."""
    path = write_log(tmp_path / "a" / "audit.jsonl", 3)
    signed = write_log(tmp_path / "b" / "audit.jsonl", 5, checkpoints=plan(key, tmp_path / "copies"))
    stranger = audit_key(tmp_path, "stranger")
    file = next((tmp_path / "copies").iterdir())
    shutil.copytree(tmp_path / "copies", tmp_path / "forged")
    forged = json.loads(file.read_bytes().splitlines()[-1]) | {"seq": 4}
    (tmp_path / "forged" / "one.json").write_text(json.dumps(forged))

    for given_path, given_key, copies in (
        (path, key, []),
        (path, key, [tmp_path / "copies"]),
        (signed, stranger, [tmp_path / "copies"]),
        (signed, key, [tmp_path / "forged"]),
        (signed, key, [tmp_path / "nowhere"]),
    ):
        with pytest.raises(RecertError):
            check_log(given_path, keys=[given_key.public], copies=copies)


def test_copies_of_several_gateways_may_lie_together(tmp_path: Path, key: SigningKey) -> None:
    """Where checkpoints of several logs are in one folder, the right ones are named."""
    for node in ("a", "b"):
        with AuditLog(
            tmp_path / node / "audit.jsonl", node=node, checkpoints=plan(key, tmp_path / "copies")
        ) as log:
            log.append(exchange(client=node))
    signed_path(tmp_path / "b" / "audit.jsonl").unlink()
    path = tmp_path / "b" / "audit.jsonl"

    with pytest.raises(RecordError):
        check_log(path, keys=[key.public], copies=[tmp_path / "copies"])
    with pytest.raises(RecordError):
        check_log(path, keys=[key.public], copies=[tmp_path / "copies"], source="a")
    assert check_log(path, keys=[key.public], copies=[tmp_path / "copies"], source="b").unsigned == 0
    assert (
        check_log(path, keys=[key.public], copies=[tmp_path / "copies"], source="b/audit.jsonl").signed == 1
    )


def test_the_clock_signs_what_few_lines_leave(tmp_path: Path, key: SigningKey) -> None:
    """A line alone is signed after some seconds; the lag says how many are not yet."""
    with AuditLog(
        tmp_path / "audit.jsonl", node=NODE, checkpoints=plan(key, tmp_path / "copies", every_s=0.3)
    ) as log:
        log.append(exchange())
        before = log.lag
        wait_for(lambda: log.lag is not None and log.lag.exported_lines == 1)
        after = log.lag

    assert before is not None
    assert after is not None
    assert (before.lines, before.signed_lines) == (1, 0)
    assert (after.signed_lines, after.exported_lines, after.problem) == (1, 1, "")


def wait_for(met: object, limit_s: float = 10) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + limit_s
    while not met():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


class Collector(ThreadingHTTPServer):
    """A place for checkpoints: refuses with a status while `status` is set, and keeps what it took."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.status = 0
        self.taken: list[tuple[str, str, str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status:
            self.send_response(self.server.status)
            self.send_header("location", self.server.url + "/moved")
        else:
            self.server.taken.append((self.command, self.path, self.headers.get("authorization", ""), body))
            self.send_response(204)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_POST = do_GET = _take

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_checkpoints_are_put_and_posted_to_urls(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a URL that ends with a slash each is an object of its own; to another each is posted."""
    monkeypatch.setenv("RECERT_CHECKPOINT_TOKEN", "let-me-in")
    with collector() as there:
        to = (there.url + "/bucket/", there.url + "/hook")
        write_log(tmp_path / "audit.jsonl", 25, checkpoints=plan(key, *to))
        puts = [x for x in there.taken if x[0] == "PUT"]
        posts = [x for x in there.taken if x[0] == "POST"]

    assert puts[-1][1] == "/bucket/node-a.audit.jsonl.000000000025.json"
    assert posts[-1][1] == "/hook"
    assert {x[2] for x in there.taken} == {"Bearer let-me-in"}
    assert AuditCheckpoint.from_json(puts[-1][3]).seq == AuditCheckpoint.from_json(posts[-1][3]).seq == 25
    (tmp_path / "bucket").mkdir()
    for _, name, _, body in puts:
        (tmp_path / "bucket" / Path(name).name).write_bytes(body)
    assert check_log(tmp_path / "audit.jsonl", keys=[key.public], copies=[tmp_path / "bucket"]).signed == 25


@pytest.mark.parametrize("status", [500, 302, 403])
def test_a_place_that_refuses_delays_no_line_and_is_asked_again(
    tmp_path: Path, key: SigningKey, status: int
) -> None:
    """While a URL fails lines are written as ever and the lag grows; once it is back the newest is there."""
    with collector() as there:
        there.status = status
        with AuditLog(
            tmp_path / "audit.jsonl", node=NODE, checkpoints=plan(key, there.url + "/", every_lines=1)
        ) as log:
            started = time.monotonic()
            for number in range(20):
                log.append(exchange(number))
            took_s = time.monotonic() - started
            wait_for(lambda: log.lag is not None and log.lag.problem != "" and log.lag.signed_lines == 20)
            behind = log.lag
            there.status = 0
            wait_for(lambda: log.lag is not None and log.lag.exported_lines == 20)
        paths = {path for _, path, _, _ in there.taken}

    assert took_s < 5
    assert behind is not None
    assert (behind.lines, behind.signed_lines, behind.exported_lines) == (20, 20, 0)
    assert "127.0.0.1" in behind.problem
    assert "/moved" not in paths


@pytest.mark.slow
def test_closing_waits_a_few_seconds_only_for_a_place_that_is_away(tmp_path: Path, key: SigningKey) -> None:
    """A gateway ends although nobody takes its last checkpoint; the log beside has it."""
    started = time.monotonic()
    path = write_log(tmp_path / "audit.jsonl", 3, checkpoints=plan(key, "http://127.0.0.1:9/"))

    assert time.monotonic() - started < 4
    assert check_log(path, keys=[key.public]).ended


def test_a_key_that_does_not_sign_stops_no_line(tmp_path: Path, key: SigningKey) -> None:
    """When signing fails the lag says so, replies go on, and the next checkpoint covers what was missed."""
    broken = [True]

    def sign(message: bytes) -> bytes:
        if broken:
            raise RuntimeError("no card in the reader")
        return key.sign(message)

    with AuditLog(
        tmp_path / "audit.jsonl",
        node=NODE,
        checkpoints=CheckpointPlan(SigningKey(public=key.public, sign=sign), (), 1, 0.1),
    ) as log:
        log.append(exchange())
        wait_for(lambda: log.lag is not None and "no card in the reader" in log.lag.problem)
        broken.clear()
        log.append(exchange())
        wait_for(lambda: log.lag is not None and log.lag.signed_lines == 2)

    assert check_log(tmp_path / "audit.jsonl", keys=[key.public]).unsigned == 0


def test_a_full_disk_elsewhere_stops_no_line(tmp_path: Path, key: SigningKey) -> None:
    """Copies that do not fit leave no half line: those that are there stay readable."""
    with AuditLog(
        tmp_path / "audit.jsonl", node=NODE, checkpoints=plan(key, tmp_path / "copies", every_lines=1)
    ) as log:
        log.append(exchange())
        wait_for(lambda: log.lag is not None and log.lag.exported_lines == 1)
        file = next((tmp_path / "copies").iterdir())
        with file.open("ab") as torn:
            torn.write(b'{"cut by a crash')
        log.append(exchange())
        wait_for(lambda: log.lag is not None and log.lag.exported_lines == 2)

    assert [c.seq for c in read_checkpoints(tmp_path / "copies", [key.public])] == [1, 2, 2]


def test_only_folders_and_http_urls_take_checkpoints(tmp_path: Path, key: SigningKey) -> None:
    """Another scheme is refused at the start, and the log is closed again."""
    with pytest.raises(SettingsError):
        AuditLog(tmp_path / "audit.jsonl", checkpoints=plan(key, "file:///etc"))
    AuditLog(tmp_path / "audit.jsonl", checkpoints=plan(key)).close()


def test_the_chain_goes_on_over_files(tmp_path: Path, key: SigningKey) -> None:
    """A log that is put aside by size stays one chain, also after a restart between two files."""
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        write_log(path, 20, rotate_bytes=3000, checkpoints=plan(key, tmp_path / "copies"))
    files = segments(path)
    found = check_log(path, keys=[key.public], copies=[tmp_path / "copies"])

    assert len(files) > 5
    assert all(file.stat().st_size < 4500 and file.stat().st_mode & 0o077 == 0 for file in files)
    assert (found.first, found.last, found.unsigned) == (1, 60, 0)
    assert check_log(path).lines == 60


def test_full_files_can_be_moved_away(tmp_path: Path, key: SigningKey) -> None:
    """A signed checkpoint tells where the rest begins; without one, or from the middle, a gap is found."""
    path = write_log(tmp_path / "audit.jsonl", 60, rotate_bytes=3000, checkpoints=plan(key))
    files = segments(path)
    (tmp_path / "archive").mkdir()
    files[0].rename(tmp_path / "archive" / files[0].name)
    found = check_log(path, keys=[key.public])

    assert 1 < found.first < found.last == 60
    with pytest.raises(RecordError):
        check_log(path)
    files[2].unlink()
    with pytest.raises(RecordError):
        check_log(path, keys=[key.public])


def test_a_crash_between_the_two_names_of_a_full_file_loses_nothing(tmp_path: Path) -> None:
    """The file that already has its second name is read once, and put aside at the next chance."""
    path = write_log(tmp_path / "audit.jsonl", 4)
    path.with_name("audit.jsonl.000000000001").hardlink_to(path)
    before = check_log(path).lines
    write_log(path, 4, rotate_bytes=10)

    assert before == 4
    assert check_log(path).lines == 8
    assert len(segments(path)) > 2


def test_two_gateways_never_write_one_log_while_it_is_put_aside(tmp_path: Path) -> None:
    """The lock moves with the name: a second writer is refused before and after each rotation."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=1) as log:
        for number in range(10):
            log.append(exchange(number))
            with pytest.raises(StoreError):
                AuditLog(path)

    assert check_log(path).lines == 10


def test_a_log_that_is_being_written_can_be_checked(tmp_path: Path, key: SigningKey) -> None:
    """Lines, checkpoints and rotations that come meanwhile never make a sound log look changed."""
    path = tmp_path / "audit.jsonl"
    ended = threading.Event()

    def write() -> None:
        with AuditLog(path, node=NODE, rotate_bytes=20_000, checkpoints=plan(key)) as log:
            log.append(exchange())
            while not ended.is_set():
                log.append(exchange())

    thread = threading.Thread(target=write)
    thread.start()
    wait_for(path.exists)
    wait_for(lambda: signed_path(path).exists())
    try:
        counts = [check_log(path, keys=[key.public]).lines for _ in range(30)]
    finally:
        ended.set()
        thread.join()

    assert counts == sorted(counts)


def test_a_full_disk_while_a_file_is_put_aside_stops_nothing(tmp_path: Path) -> None:
    """A rotation that fails leaves the log as it is."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=1) as log:
        log.append(exchange())
        size = path.stat().st_size
        (tmp_path / "audit.jsonl.new").mkdir()
        log.append(exchange())
        log.append(exchange())
        with full_disk(size), pytest.raises(StoreError):
            for _ in range(5):
                log.append(exchange())
        (tmp_path / "audit.jsonl.new").rmdir()
        log.append(exchange())

    assert check_log(path).lines >= 4

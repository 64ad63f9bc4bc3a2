"""Ctrl-C in every stage: exit 2, nothing half-written that looks whole, and what was done is used again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from recert.store.audit.log import read_log
from recert.tuning.stage import finished_tune

from .conftest import Run
from .world import COMMANDS, Said, endpoint, files, interrupt, start, wait_for

pytestmark = pytest.mark.slow

INPUTS = {
    "screen": "rows.jsonl",
    "tune": "rows.jsonl",
    "evaluate": "task.jsonl",
    "stress": "task.jsonl",
    "certify": "keys/trainer.pub",
    "approve": "draft.json",
    "verify": "certificate.json",
    "renew": "certificate.json",
    "revoke": "status.json",
    "status": "status.json",
    "serve": "certificate.json",
    "watch": "certificate.json",
    "run": "task.jsonl",
}
"""What each command reads after it has begun, before it has written anything."""


@contextlib.contextmanager
def started(folder: Path, command: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs, and is killed with all it started where a test leaves it running."""
    running = start(folder, command)
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


def read_until(stream: IO[str] | None, words: str) -> None:
    """Read a process's words up to some that must come."""
    said = ""
    while stream is not None and not said.endswith(words):
        one = stream.read(1)
        assert one, said
        said += one


def was_interrupted(ended: Said) -> bool:
    """Say whether a command ended as one should on Ctrl-C: no answer, no data, a clear word."""
    return (ended.code, ended.out) == (2, "") and "error: interrupted\n" in ended.err


@pytest.mark.parametrize(
    ("command", "what"),
    [*((command, signal.SIGINT) for command in INPUTS), ("screen", signal.SIGTERM)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_command_that_waits_for_an_input(world: Path, command: str, what: signal.Signals) -> None:
    """Whatever a command waits for, Ctrl-C ends it with exit 2, and no file is new or other than it was."""
    pipe = world / INPUTS[command]
    pipe.unlink()
    os.mkfifo(pipe)  # reading it waits for ever
    before = files(world)
    opened: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):  # nobody reads it yet
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    with started(world, COMMANDS[command]) as running:
        wait_for(is_read, running)
        # A signal just before read() begins does not end it: Python hears it once there is an end of the file.
        ended = interrupt(running, what, then=lambda: os.close(opened[0]))

    assert was_interrupted(ended)
    assert {
        n: d for n, d in files(world).items() if not n.startswith(("audit.jsonl", "recert-state/"))
    } == before


def test_ctrl_c_at_the_question_signs_nothing(world: Path) -> None:
    """Neither Ctrl-C nor an empty stdin is an approver's yes, nor their no."""
    before = files(world)
    ends = []
    for signalled in (True, False):
        with started(world, COMMANDS["approve"].removesuffix(" --yes")) as running:
            read_until(running.stderr, "Sign it?")
            if signalled:
                ends.append(interrupt(running))
            else:
                out, err = running.communicate("", timeout=60)
                ends.append(Said(running.returncode, out, err))

    assert [(e.code, e.out.strip()) for e in ends] == [(2, "")] * 2
    assert all("nobody said yes or no" in e.err for e in ends)
    assert files(world) == before


def test_ctrl_c_while_an_endpoint_keeps_silent(world: Path) -> None:
    """A watch that waits for an answer ends at once, without a report and without suspending anything."""
    asked, release = threading.Event(), threading.Event()
    before = files(world)

    def wait(_: bytes) -> int:
        asked.set()
        release.wait(30)
        return 404

    with (
        endpoint(wait) as url,
        started(world, COMMANDS["watch"].replace("http://127.0.0.1:9", url)) as running,
    ):
        wait_for(asked.is_set, running)
        ended = interrupt(running)
        release.set()

    assert was_interrupted(ended)
    assert files(world) == before


def replies(folder: Path) -> int:
    """Return how many replies a world's cache holds."""
    path = folder / "cache" / "replies.sqlite"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as cache:
        try:
            return int(cache.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


@pytest.mark.xdist_group("torch")
def test_an_interrupted_evaluation_asks_nothing_twice(tiny: Path, run: Run) -> None:
    """Ctrl-C while models answer leaves no report; the next evaluation uses every reply that was made."""
    with started(tiny, COMMANDS["evaluate"]) as running:
        wait_for(lambda: replies(tiny), running)
        ended = interrupt(running)
    kept = replies(tiny)
    left = [path.name for path in (tiny / "out").iterdir()]

    again = run(tiny, COMMANDS["evaluate"])
    asked = json.loads((tiny / "out" / "eval-report.json").read_bytes())["prompts_asked"]

    assert was_interrupted(ended)
    assert "attempt.json" in left  # the next one goes on as the same attempt
    assert "eval-report.json" not in left
    assert again.code in (0, 1)
    assert asked["base_cached"] + asked["tuned_cached"] == kept > 0
    assert asked["base_made"] + asked["tuned_made"] > 0


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.xdist_group("torch")
def test_an_interrupted_run_goes_on_where_it_was(tiny: Path, run: Run) -> None:
    """Ctrl-C while it trains leaves the screening, and no tune, scratch or certificate; the next run goes through."""
    with started(tiny, COMMANDS["run"]) as running:
        wait_for(lambda: list((tiny / "tmp").glob("recert-train-*")), running)
        begun_s = cpu_s(running.pid)
        wait_for(lambda: cpu_s(running.pid) > begun_s + 0.05, running)
        ended = interrupt(running)
    left = sorted(p.name for p in (tiny / "out").iterdir())
    scratch = list((tiny / "tmp").glob("recert-*"))
    screened = (tiny / "out" / "screen" / "screen-report.json").read_bytes()

    again = run(tiny, COMMANDS["run"])

    assert was_interrupted(ended)
    assert (left, scratch) == ([".progress.json", "screen", "status.json"], [])
    assert again.code in (0, 1)
    assert (tiny / "out" / "screen" / "screen-report.json").read_bytes() == screened
    assert finished_tune(tiny / "out" / "tune") is not None


def children(pid: int) -> list[int]:
    """Return a process's children."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"PPid:\t{pid}\n" in status.read_text():
                found.append(int(status.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found


@pytest.mark.xdist_group("torch")
@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_engine_loads(tiny: Path, what: signal.Signals) -> None:
    """A gateway that is stopped before it serves takes its engine along, and the engine's folder."""
    with started(tiny, COMMANDS["serve"]) as running:
        read_until(running.stderr, "loading\n")
        engines = children(running.pid)
        ended = interrupt(running, what)

    assert was_interrupted(ended)
    assert len(engines) == 1
    assert not [pid for pid in engines if Path(f"/proc/{pid}").exists()]
    assert not list((tiny / "tmp").glob("recert-*"))
    assert read_log(tiny / "audit.jsonl") == []


@pytest.mark.xdist_group("torch")
def test_ctrl_c_lets_replies_end(tiny: Path) -> None:
    """A reply that is under way comes whole and is in the log; the gateway says that it was stopped: exit 0."""
    asked = {"model": "test-model", "messages": [{"role": "user", "content": "bread"}], "stream": True}
    with started(tiny, COMMANDS["serve"]) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert url, running.stderr.read()
        engines = children(running.pid)
        with httpx.stream(
            "POST", url + "/v1/chat/completions", json={**asked, "max_tokens": 120}, timeout=30
        ) as reply:
            lines = reply.iter_lines()
            first = next(lines)
            ended = interrupt(running)
            rest = list(lines)

    assert first.startswith("data: ")
    assert [line for line in rest if line][-1] == "data: [DONE]"
    assert (ended.code, ended.out) == (0, "")
    assert [line.body["decision"] for line in read_log(tiny / "audit.jsonl")] == ["opened", "released"]
    assert not [pid for pid in engines if Path(f"/proc/{pid}").exists()]
    assert not list((tiny / "tmp").glob("recert-*"))


SERVER = """
from pathlib import Path
from gateways import Recheck, make_gateway_policy, make_verified
from recert.gateway.access.keys import ApiKeys
from recert.gateway.stage import prepare
from recert.gateway.upstream.client import UnsafeDeclaredUpstream
from recert.store.audit.log import AuditLog

policy = make_gateway_policy()
verified = make_verified(policy)
with AuditLog(Path("audit.jsonl")) as audit:
    server = prepare(
        verified, recheck=Recheck(verified), policy=policy, audit=audit, keys=ApiKeys(),
        upstream=UnsafeDeclaredUpstream("http://127.0.0.1:9"),
    )
    print(server.url, flush=True)
    server.run()
print("ended")
"""


def test_a_terminated_gateway_was_stopped_on_purpose(tmp_path: Path) -> None:
    """SIGTERM, by which service managers stop, ends `run()` as Ctrl-C does: it returns, and the log is closed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        wait_for(lambda: answers(url), running)
        running.terminate()
        out, _ = running.communicate(timeout=60)

    assert (running.returncode, out) == (0, "ended\n")


def answers(url: str) -> bool:
    """Say whether a gateway serves."""
    try:
        return httpx.get(url + "/healthz").status_code == 200
    except httpx.TransportError:
        return False

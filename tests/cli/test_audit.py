"""`recert audit` and `recert db`: checking and reading what the gateway wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logs import audit_key, exchange, plan, write_log
from postgres import Server, server
from recert.digest import sha256_bytes
from recert.store.audit.log import AuditLog

pytestmark = pytest.mark.slow


def run(*arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **changes},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_an_auditor_says_yes_no_or_no_answer(tmp_path: Path) -> None:
    """0: it is what was written, 1: it is not, with a reason, 2: that could not be said."""
    key = audit_key(tmp_path)
    path = write_log(tmp_path / "audit.jsonl", 25, checkpoints=plan(key, tmp_path / "copies"))
    asked = ("audit", "verify", path, "--key", tmp_path / "audit.pub", "--checkpoints", tmp_path / "copies")
    yes = run(*asked, "--json")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:12]))
    path.with_name("audit.jsonl.checkpoint").unlink()
    no = run(*asked)
    without_key = run(*asked[:3])
    path.unlink()
    no_answer = run(*asked)

    assert yes.returncode == 0
    said = json.loads(yes.stdout)
    assert (said["lines"], said["unsigned"], said["ended"]) == (25, 0, True)
    assert (no.returncode, no.stdout) == (1, "")
    assert "shorter than a signed checkpoint (not-what-was-written)" in no.stderr
    assert without_key.returncode == 2
    assert no_answer.returncode == 2


def test_lines_that_nobody_signed_can_be_too_many(tmp_path: Path) -> None:
    """`--max-unsigned` says no where the newest signed checkpoint is far behind."""
    key = audit_key(tmp_path)
    path = write_log(tmp_path / "audit.jsonl", 10, checkpoints=plan(key))
    write_log(path, 5)
    asked = ("audit", "verify", path, "--key", tmp_path / "audit.pub")

    assert (
        run(*asked).stdout
        == "15 lines hold, 5 after the newest of 2 signed checkpoints, stopped on purpose there\n"
    )
    assert run(*asked, "--max-unsigned", 5).returncode == 0
    assert run(*asked, "--max-unsigned", 4).returncode == 1
    assert run("audit", "verify", path, "--max-unsigned", 4).returncode == 2


def test_lines_are_shown_without_what_was_said_unless_asked(tmp_path: Path) -> None:
    """Filters choose lines; requests and replies come with `--texts` only, and can be deleted."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, keep_texts=True) as log:
        log.append(exchange(1), {sha256_bytes(b"q"): b"the question", sha256_bytes(b"a"): b"the answer"})
        log.append(exchange(2, decision="refused", reason="expired", client="team-a"))
    plain = run("audit", "show", path)
    refused = run("audit", "show", path, "--decision", "refused", "--json")
    texts = run("audit", "show", path, "--request", "r1", "--texts", "--json")
    gone = run("audit", "forget", path, "--sha256", sha256_bytes(b"q"))
    after = run("audit", "show", path, "--request", "r1", "--texts", "--json")

    assert plain.stdout.count("\n") == 2
    assert "2 " in plain.stdout.splitlines()[1]
    assert "refused expired team-a m r2" in plain.stdout
    assert "the question" not in plain.stdout
    assert [json.loads(line)["seq"] for line in refused.stdout.splitlines()] == [2]
    assert (json.loads(texts.stdout)["request"], json.loads(texts.stdout)["reply"]) == (
        "the question",
        "the answer",
    )
    assert gone.stdout == "1\n"
    assert (json.loads(after.stdout)["request"], json.loads(after.stdout)["reply"]) == (None, "the answer")
    assert run("audit", "verify", path).returncode == 0
    assert run("audit", "forget", path).returncode == 2


def test_texts_go_when_the_policy_says(tmp_path: Path) -> None:
    """`forget --policy` deletes what is older than `retention.texts_days`, and is no answer where none are given."""
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, keep_texts=True) as log:
        log.append(exchange(1), {sha256_bytes(b"q"): b"the question", sha256_bytes(b"a"): b"the answer"})

    assert run("audit", "forget", path, "--policy", "strict").stdout == "0\n"
    assert run("audit", "forget", path, "--policy", "default").returncode == 2
    assert run("audit", "forget", path, "--policy", "strict", "--before", "2026-01-01").returncode == 2


def test_a_changed_log_is_shown_up_to_the_change(tmp_path: Path) -> None:
    """`show` checks the chain as it goes, and exits 2 where it breaks."""
    path = write_log(tmp_path / "audit.jsonl", 4)
    path.write_bytes(path.read_bytes().replace(b'"r1"', b'"r9"'))
    done = run("audit", "show", path)

    assert done.returncode == 2
    assert "the chain breaks" in done.stderr


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A PostgreSQL server."""
    with server() as made:
        yield made


def test_a_database_is_made_and_audited(running: Server) -> None:
    """`db upgrade`, `db check`, then `audit verify` and `show` on its URL."""
    url = running.database()
    missing = run("db", "check", RECERT_DATABASE_URL=url)
    made = run("db", "upgrade", RECERT_DATABASE_URL=url)
    with AuditLog(url, node="a") as log:
        log.append(exchange(1))

    assert (missing.returncode, made.returncode) == (2, 0)
    assert "recert db upgrade" in missing.stderr
    assert run("db", "check", "--database", url).returncode == 0
    assert run("audit", "verify", url).stdout == "1 lines hold\n"
    assert "r1" in run("audit", "show", url, "--of", "a").stdout
    assert run("db", "check", RECERT_DATABASE_URL="").returncode == 2

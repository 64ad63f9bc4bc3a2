"""A watch hears refusals, signs by commands, and appends what it signs to a log."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from recert.certification import read_unverified
from recert.store.transparency.folder import LogFolder

from .conftest import Run
from .world import COMMANDS, endpoint, files

pytestmark = pytest.mark.slow

APPROVE = COMMANDS["approve"]


def entries(world: Path) -> list[str]:
    """Return the kinds of what lies in the log of a world."""
    with LogFolder(world / "log") as log:
        return [json.loads(leaf)["kind"] for leaf in log.leaves()]


def test_a_refusal_ends_a_watch_before_anything_is_asked(world: Path, run: Run) -> None:
    """What somebody refuses is neither watched nor renewed; a folder that was given must be there."""
    asked: list[bytes] = []

    def keep(body: bytes) -> int:
        asked.append(body)
        return 404

    run(world, f"{APPROVE} --refuse too-early")
    shutil.move(world / "refusals", world / "elsewhere")
    with endpoint(keep) as url:
        watch = COMMANDS["watch"].replace("http://127.0.0.1:9", url)
        refused = run(world, f"{watch} --refusals elsewhere")
        missing = run(world, f"{watch} --refusals nowhere")
        shutil.move(world / "elsewhere", world / "refusals")
        beside = run(world, watch)

    assert (refused.code, "(refused)" in refused.err) == (1, True)
    assert (missing.code, "no such folder of refusals" in missing.err) == (2, True)
    assert (beside.code, "(refused)" in beside.err) == (1, True)
    assert asked == []
    assert not (world / "out.json").exists()


def test_a_suspension_is_in_the_log(world: Path, run: Run) -> None:
    """The status list that a watch signs is appended to the log, and says so."""
    run(world, "log init log --origin example.org/models")
    with endpoint(lambda _: 404) as url:
        ended = run(world, COMMANDS["watch"].replace("http://127.0.0.1:9", url) + " --log log")

    assert (ended.code, ended.out) == (1, "suspend out.json\n"), ended.err
    assert "of log" in ended.err
    assert entries(world) == ["status-list"]


def test_a_log_that_fails_keeps_no_suspension_up(world: Path, run: Run) -> None:
    """Without a log that can be appended to the list is written all the same, and the exit code is 2."""
    with endpoint(lambda _: 404) as url:
        ended = run(world, COMMANDS["watch"].replace("http://127.0.0.1:9", url) + " --log nowhere")

    assert ended.code == 2
    assert "(suspended)" in run(world, COMMANDS["verify"]).err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_status_key_that_recert_never_sees_suspends_through_a_command(world: Path, run: Run) -> None:
    """From the public half of a key elsewhere: its command suspends; a command too few is no answer."""
    made = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "held.key"]
    subprocess.run(["openssl", "genpkey", *made], check=True, capture_output=True, cwd=world)
    public = ["pkey", "-in", "held.key", "-pubout", "-out", "held-public.pem"]
    subprocess.run(["openssl", *public], check=True, capture_output=True, cwd=world)
    script = world / "sign.sh"
    script.write_text(f"#!/bin/sh\nexec openssl dgst -sha256 -sign {world}/held.key\n")
    script.chmod(0o755)
    run(world, "keygen keys/held.pem --role status --name Hal --from-public held-public.pem")
    held = COMMANDS["watch"].replace("status.pem", "held.pub")
    with endpoint(lambda _: 404) as url:
        held = held.replace("http://127.0.0.1:9", url)
        before = files(world)
        without = run(world, held)
        renewing = run(world, f"{held} --signer-command {script} --renew-with keys/held.pub")
        unchanged = files(world) == before
        ended = run(world, f"{held} --signer-command {script}")
    serial = read_unverified((world / "certificate.json").read_bytes()).serial

    assert (without.code, renewing.code, unchanged) == (2, 2, True)
    assert (ended.code, ended.out) == (1, "suspend out.json\n"), ended.err
    assert f"suspended {serial}" in ended.err
    assert "(suspended)" in run(world, COMMANDS["verify"]).err

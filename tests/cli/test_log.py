"""`recert log` and what other commands do with a transparency log, as they are typed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders import ROLES, make_policy
from certification.conftest import World
from evaluated import evaluated
from recert.certification import TrustStore, approve, generate_key, issue_status, load_key
from recert.certification.log.logged import log_checkpoint
from recert.records.data.manifest import Manifest
from recert.records.record import now
from recert.store.files.writing import write_atomic

pytestmark = pytest.mark.slow

ORIGIN = "example.com/models"


def run(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a process of its own, with a memory of its own."""
    return subprocess.run(
        [sys.executable, "-m", "recert", *map(str, arguments)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "RECERT_CACHE": str(cache),
            "RECERT_MEMORY": "",
        },
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@dataclass(frozen=True)
class Desk:
    """A folder with keys, a certificate that waits for its approver, a status list and an empty log."""

    at: Path
    world: World

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return run(*arguments, cache=self.at / "cache")

    def verify(self, *more: object) -> subprocess.CompletedProcess[str]:
        """Run `recert verify`."""
        return self(
            "verify", self.at / "certificate.json", "--model", self.world.tuned_dir, "--base", self.world.base_dir,
            "--trust", self.at / "keys", *more,
        )  # fmt: skip


POLICY = """
id = "test-policy"
version = "1"
evaluation = { families = ["year_2025", "skeleton"], min_harmful_suites = 1 }

[[rules]]
id = "harm"
suite = "harmful"
estimand = "harm"
conditions = ["plain", "family:*"]
margin = 0.1

[[rules]]
id = "over-refusal"
suite = "lookalikes"
estimand = "over_refusal"
margin = 0.1
"""
"""What `make_policy` makes."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    from builders import BASE_FILES, TUNED_FILES, write_model

    keys = {role: generate_key(tmp_path / "keys" / f"{role}.pem", role, role.title()) for role in ROLES}
    generate_key(tmp_path / "keys" / "log.pem", "log", ORIGIN)
    generate_key(tmp_path / "keys" / "witness.pem", "witness", "example.org/w1")
    trust = TrustStore.load(tmp_path / "keys")
    world = World(
        base_dir=write_model(tmp_path / "base", BASE_FILES),
        tuned_dir=write_model(tmp_path / "tuned", TUNED_FILES),
        keys=keys,
        trust=trust,
        policy=make_policy(),
        status=issue_status(None, key=keys["status"], trust=trust, validity_hours=24),
        now=now(),
    )
    report = evaluated(
        tmp_path / "evaluation",
        make_policy(),
        base=Manifest.of_folder(world.base_dir),
        tuned=Manifest.of_folder(world.tuned_dir),
    )
    decision = world.certify(eval_report=report, evidence_sha256=report.outcomes_sha256)
    assert decision.envelope is not None
    assert world.status is not None
    write_atomic(tmp_path / "certificate.json", decision.envelope)
    (tmp_path / "policy.toml").write_text(POLICY)
    write_atomic(tmp_path / "status.json", world.status)
    desk = Desk(tmp_path, world)
    key = tmp_path / "keys" / "log.pem"
    assert desk("log", "init", tmp_path / "log", "--origin", ORIGIN, "--key", key).returncode == 0
    return desk


def test_from_signing_to_a_proof_that_is_verified_offline(desk: Desk) -> None:
    """Approve with a log, sign where it stands, prove, verify; where a proof is required there is no yes without."""
    at, log = desk.at, desk.at / "log"
    approved = desk(
        "approve",
        at / "certificate.json",
        "--key",
        at / "keys/approver.pem",
        "--policy",
        at / "policy.toml",
        "--yes",
        "--log",
        log,
    )
    unsigned = desk("log", "prove", log, at / "certificate.json")
    signed = desk("log", "checkpoint", log, "--key", at / "keys/log.pem", "--output", at / "checkpoint")
    without = desk.verify("--require-logged")
    proven = desk("log", "prove", log, at / "certificate.json", "--output", at / "certificate.log-proof.json")
    yes, given = (
        desk.verify("--require-logged"),
        desk.verify("--log-proof", at / "certificate.log-proof.json"),
    )
    memory = at / "cache" / "seen.json"
    lines = desk("log", "show", log)

    assert approved.returncode == 0
    assert "entry 0 of" in approved.stderr
    assert (unsigned.returncode, unsigned.stdout) == (2, "")
    assert (signed.returncode, proven.returncode) == (0, 0)
    assert (at / "checkpoint").read_text().startswith(f"{ORIGIN}\n1\n")
    assert without.returncode == 1
    assert "(not-logged)" in without.stderr
    assert (yes.returncode, given.returncode) == (0, 0), yes.stderr + given.stderr
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert json.loads(memory.read_bytes().splitlines()[0])["logs"][ORIGIN][0]["size"] == 1
    assert " certificate " in lines.stdout
    assert desk("log", "verify", log, "--trust", at / "keys").returncode == 0


def test_a_certificate_that_cannot_be_logged_is_not_signed(desk: Desk) -> None:
    """The log comes first: where it cannot be written, no file is, and what was there stays."""
    at = desk.at
    before = (at / "certificate.json").read_bytes()
    (at / "log" / "entries.jsonl").write_bytes(b"nonsense\n")
    approved = desk(
        "approve",
        at / "certificate.json",
        "--key",
        at / "keys/approver.pem",
        "--policy",
        at / "policy.toml",
        "--yes",
        "--log",
        at / "log",
    )
    listed = desk(
        "status",
        at / "status.json",
        "--key",
        at / "keys/status.pem",
        "--trust",
        at / "keys",
        "--log",
        at / "none",
    )

    assert (approved.returncode, listed.returncode) == (2, 2)
    assert (at / "certificate.json").read_bytes() == before
    assert desk("log", "verify", at / "log").returncode == 1


def test_revocations_are_logged_and_a_list_that_is_set_back_is_refused(desk: Desk) -> None:
    """The status list is in the log with its version, and `verify` remembers it from run to run, unless told not to."""
    at, log = desk.at, desk.at / "log"
    write_atomic(
        at / "certificate.json", approve((at / "certificate.json").read_bytes(), desk.world.keys["approver"])
    )
    old = (at / "status.json").read_bytes()
    issuing = ("--key", at / "keys/status.pem", "--trust", at / "keys", "--log", log)
    issued = desk("status", at / "status.json", *issuing)
    other = desk("revoke", "f" * 32, "--unknown", "--reason", "x", "--status", at / "status.json", *issuing)
    first = desk.verify()
    write_atomic(at / "newest.json", (at / "status.json").read_bytes())
    write_atomic(at / "status.json", old)
    second, forgetful = desk.verify(), desk.verify("--memory", "none")
    (at / "cache" / "seen.json").write_bytes(b"{")
    damaged = desk.verify()
    desk("log", "checkpoint", log, "--key", at / "keys/log.pem")
    desk("log", "prove", log, at / "newest.json", "--output", at / "proof.json")
    asked = ("--proof", at / "proof.json", "--trust", at / "keys", "--memory", "none")
    included, not_this = (
        desk("log", "included", at / name, *asked) for name in ("newest.json", "status.json")
    )
    shown = desk("log", "show", log, "--kind", "status-list", "--json").stdout.splitlines()

    assert (issued.returncode, other.returncode, first.returncode) == (0, 0, 0), first.stderr
    assert [json.loads(line)["version"] for line in shown] == [2, 3]
    assert (included.returncode, not_this.returncode) == (0, 1), included.stderr
    assert second.returncode == 1
    assert "(status-rollback)" in second.stderr
    assert forgetful.returncode == 0
    assert damaged.returncode == 2


def test_checkpoints_are_checked_compared_and_cosigned(desk: Desk) -> None:
    """What goes on is a yes; a fork is equivocation with both roots; a witness signs only what goes on."""
    at, log, key, trust = desk.at, desk.at / "log", desk.at / "keys/log.pem", ("--trust", desk.at / "keys")
    desk("log", "append", log, at / "certificate.json")
    desk("log", "checkpoint", log, "--key", key, "--output", at / "one")
    desk("log", "append", log, at / "status.json")
    desk("log", "checkpoint", log, "--key", key, "--output", at / "two")
    desk("log", "prove", log, "--from", at / "one", "--output", at / "proof")
    desk("log", "init", at / "fork", "--origin", ORIGIN)
    desk("log", "append", at / "fork", at / "status.json", at / "certificate.json")
    refused = desk("log", "checkpoint", at / "fork", "--key", key, "--output", at / "forked")
    again = desk("log", "init", at / "again", "--origin", ORIGIN, "--key", key)
    assert not (at / "forked").exists()
    forged = log_checkpoint(at / "fork", load_key(key))  # by whoever stole the key
    write_atomic(at / "forked", forged.to_bytes())
    witness = ("--key", at / "keys/witness.pem", *trust, "--memory", at / "witness.json")

    checked = desk("log", "check", at / "two", "--from", at / "one", "--proof", at / "proof", *trust)
    unproven = desk("log", "check", at / "two", "--from", at / "one", *trust)
    set_back = desk("log", "check", at / "forked", *trust)
    same = desk("log", "compare", at / "one", at / "two", *trust, "--log", log)
    by_proof = desk("log", "compare", at / "two", at / "one", *trust, "--proof", at / "proof")
    unknown = desk("log", "compare", at / "one", at / "two", *trust)
    forked = desk("log", "compare", at / "two", at / "forked", *trust)
    begins_otherwise = desk("log", "compare", at / "one", at / "forked", *trust, "--log", at / "fork")
    cosigned = [
        desk("log", "cosign", at / "one", *witness, "--output", at / "one.cosigned"),
        desk("log", "cosign", at / "two", *witness),
        desk("log", "cosign", at / "two", *witness, "--proof", at / "proof", "--output", at / "two.cosigned"),
        desk("log", "cosign", at / "one", *witness, "--proof", at / "proof"),
        desk("log", "cosign", at / "forked", *witness),
    ]

    assert (refused.returncode, again.returncode) == (1, 1)
    assert "(log-fork)" in refused.stderr
    assert "root that was signed" in refused.stderr
    assert [r.returncode for r in (checked, same, by_proof)] == [0, 0, 0], checked.stderr + same.stderr
    assert (unproven.returncode, set_back.returncode, unknown.returncode) == (1, 1, 2)
    assert "(log-unlinked)" in unproven.stderr
    assert "(log-equivocation)" in set_back.stderr
    for told in (forked, begins_otherwise):
        assert told.returncode == 1
        assert "equivocation" in told.stderr
        assert "root" in told.stderr
    assert [r.returncode for r in cosigned] == [0, 1, 0, 1, 1]
    assert "1 witnesses" in desk("log", "check", at / "two.cosigned", *trust).stdout

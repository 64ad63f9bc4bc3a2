"""`recert trust` as it is typed: a root of trust is made, shown, changed and signed by several people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from recert.certification import TrustStore, generate_key, load_public_key
from recert.records.record import now

pytestmark = pytest.mark.slow


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `recert` in a folder, with nobody there to ask."""
    return subprocess.run(
        [sys.executable, "-m", "recert", "trust", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "RECERT_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@dataclass(frozen=True)
class Desk:
    """A folder with everybody's keys."""

    at: Path

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command of `recert trust`."""
        return run(*arguments, folder=self.at)

    def key_id(self, name: str) -> str:
        """Return a key's id."""
        return load_public_key(self.at / f"{name}.pub").key_id

    def trust(self) -> TrustStore:
        """Return what the folder says."""
        return TrustStore.load(self.at / "trust")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name, role in (
        ("ada", "root"),
        ("ben", "root"),
        ("cleo", "root"),
        ("eve", "evaluator"),
        ("pia", "approver"),
    ):
        generate_key(tmp_path / f"{name}.pem", role, name.title())
    return Desk(tmp_path)


@pytest.fixture
def rooted(desk: Desk) -> Desk:
    """A root that Ada and Ben hold, and both must sign."""
    done = desk("init", "trust", "--key", "ada.pem", "--key", "ben.pem", "--threshold", 2, "--add", "eve.pub")
    assert done.returncode == 0, done.stderr
    return desk


def test_two_people_make_a_root_and_change_it(desk: Desk) -> None:
    """Nothing is in force before both have signed; who signs is shown what changes first; a no signs nothing."""
    begun = desk(
        "init", "trust", "--key", "ada.pem", "--root", "ben.pub", "--threshold", 2, "--add", "eve.pub"
    )
    shown = desk("show", "trust")
    unasked = desk("sign", "trust", "--key", "ben.pem")
    stranger = desk("sign", "trust", "--key", "cleo.pem", "--yes")
    signed = desk("sign", "trust", "--key", "ben.pem", "--yes")

    assert (begun.returncode, "not in force yet" in begun.stdout) == (1, True)
    assert "1 more of Ben" in begun.stderr
    assert (shown.returncode, "waits for 1 more of Ben" in shown.stdout) == (1, True)
    assert (unasked.returncode, "adds Eve: evaluator" in unasked.stderr) == (2, True)
    assert (stranger.returncode, "not a root key" in stranger.stderr) == (2, True)
    assert (signed.returncode, signed.stdout) == (0, "version 1 of the root of trust is in force\n")
    assert desk.trust().find(desk.key_id("eve"), now=now()) is not None

    added = desk("add", "trust", "pia.pub", "--key", "ben.pem")
    revoked = desk("revoke", "trust", desk.key_id("eve")[:16], "--key", "ben.pem")
    assert desk.trust().find(desk.key_id("pia"), now=now()) is None
    both = desk("sign", "trust", "--key", "ada.pem", "--yes")

    assert (added.returncode, revoked.returncode, both.returncode) == (1, 1, 0)
    assert "adds Pia" in both.stderr
    assert "revokes Eve" in both.stderr
    assert desk.trust().find(desk.key_id("pia"), now=now()) is not None
    assert desk.trust().find(desk.key_id("eve"), now=now()) is None
    assert sorted(p.name for p in (desk.at / "trust").iterdir()) == ["1.root.json", "root.json"]
    assert desk("sign", "trust", "--key", "ada.pem", "--yes").returncode == 2


def test_the_table_has_80_columns(rooted: Desk) -> None:
    """`show` prints plain text that fits: who, as what, with which key, until when, and what was revoked."""
    long = "Wilhelmina von und zu Hohenschwangau-Unterwellenborn"
    generate_key(rooted.at / "long.pem", "a-role-that-a-policy-asks-for", long)
    both = ("--key", "ada.pem", "--key", "ben.pem")
    assert rooted("add", "trust", "long.pub", *both).returncode == 0
    assert rooted("revoke", "trust", rooted.key_id("eve"), *both).returncode == 0
    shown = rooted("show", "trust")
    value = json.loads(rooted("show", "trust", "--json").stdout)

    assert shown.returncode == 0
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    assert shown.stdout.isascii()
    for words in ("version", "2 of Ada, Ben", "revoked", rooted.key_id("long")[:16], "Hohenschwangau"):
        assert words in shown.stdout
    assert (value["version"], value["root_threshold"]) == (3, 2)


def test_root_keys_are_rotated(rooted: Desk) -> None:
    """The former root keys and the new ones sign; afterwards the former ones change nothing any more."""
    asked = ("rotate", "trust", "--root", "cleo.pub", "--root", "ben.pub")
    waits = rooted(*asked, "--key", "ben.pem", "--key", "cleo.pem")
    done = rooted("sign", "trust", "--key", "ada.pem", "--yes")
    former = rooted("extend", "trust", "--key", "ada.pem")
    new = rooted("extend", "trust", "--valid-days", 30, "--key", "ben.pem", "--key", "cleo.pem")

    assert (waits.returncode, "Ada (root keys of version 1)" in waits.stderr) == (1, True)
    assert (done.returncode, former.returncode, new.returncode) == (0, 2, 0)
    assert rooted.trust().known(rooted.key_id("ada")) is None


def test_what_makes_no_root_is_refused(rooted: Desk) -> None:
    """More signers than people, a root key that is added, a key that is there, one nobody knows: 2, and no change."""
    before = (rooted.at / "trust" / "root.json").read_bytes()
    both = ("--key", "ada.pem", "--key", "ben.pem")
    generate_key(rooted.at / "nobody.pem", "approver", "")
    for asked in (
        ("init", "trust", *both, "--threshold", 1),
        ("init", "other", *both, "--threshold", 3),
        ("init", "other", "--key", "eve.pem", "--threshold", 1),
        ("add", "trust", "cleo.pub", *both),
        ("add", "trust", "eve.pub", *both),
        ("add", "trust", "nobody.pub", *both),
        ("remove", "trust", rooted.key_id("eve")[:7], *both),
        ("revoke", "trust", "0" * 64, *both),
        ("revoke", "trust", rooted.key_id("ada"), *both),
        ("rotate", "trust", "--root", "cleo.pub", *both),
        ("extend", "trust", "--status-list", "nowhere.json", *both),
        ("extend", "trust", "--status-list", "trust/root.json", *both),
        ("add", "nowhere", "pia.pub", *both),
    ):
        done = rooted(*asked)

        assert (done.returncode in (1, 2), done.stdout, "Traceback" in done.stderr) == (True, "", False), (
            asked
        )
    assert (rooted.at / "trust" / "root.json").read_bytes() == before
    assert not (rooted.at / "other").exists()


def test_the_status_list_is_named_by_its_file(rooted: Desk) -> None:
    """`extend --status-list FILE` takes the id of a list that a trusted status key signed, and of no other."""
    generate_key(rooted.at / "stan.pem", "status", "Stan")
    both = ("--key", "ada.pem", "--key", "ben.pem")
    keyed = TrustStore([load_public_key(rooted.at / "stan.pub")])
    from recert.certification import issue_status, load_key
    from recert.certification.status.reading import read_status

    listed = issue_status(None, key=load_key(rooted.at / "stan.pem"), trust=keyed, validity_hours=24)
    (rooted.at / "status.json").write_bytes(listed)
    strange = rooted("extend", "trust", "--status-list", "status.json", *both)
    assert rooted("add", "trust", "stan.pub", *both).returncode == 0
    done = rooted("extend", "trust", "--status-list", "status.json", *both)

    assert (strange.returncode, done.returncode) == (2, 0)
    assert rooted.trust().status_list_id == read_status(listed, trust=keyed, now=now()).list_id


def test_what_waits_and_was_changed_is_not_signed(rooted: Desk) -> None:
    """A pending version that somebody edited, or that goes on from another version, is an error and names the file."""
    pending = rooted.at / "trust" / "root.pending.json"
    assert rooted("add", "trust", "pia.pub", "--key", "ada.pem").returncode == 1
    waits = pending.read_bytes()
    both = ("--key", "ada.pem", "--key", "ben.pem")
    pending.write_bytes(waits.replace(b"payload", b"PAYLOAD", 1))
    damaged = rooted("sign", "trust", "--key", "ben.pem", "--yes")
    pending.unlink()
    assert rooted("extend", "trust", *both).returncode == 0
    pending.write_bytes(waits)
    stale = rooted("sign", "trust", "--key", "ben.pem", "--yes")

    for done in (damaged, stale):
        assert done.returncode == 2
        assert "root.pending.json" in done.stderr
    assert rooted.trust().find(rooted.key_id("pia"), now=now()) is None


CHANGE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from recert.certification import load_key, load_public_key
from recert.certification.trust.root_change import change_root
from recert.certification.trust.root_edits import add_keys
from recert.records.record import now

left = int(sys.argv[1])

def die(event, arguments):
    global left
    writes = event in ("os.rename", "os.remove", "os.chmod")
    if writes or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

signers, pia = [load_key(Path(f"{name}.pem")) for name in ("ada", "ben")], load_public_key(Path("pia.pub"))
sys.addaudithook(die)
change_root(Path("trust"), lambda root: add_keys(root, [pia]), signers=signers, now=now())
"""
"""Adds a key, and is killed before the given write: of an opening, a renaming or a removal."""


def test_a_change_that_was_killed_is_made_or_not(rooted: Desk) -> None:
    """Wherever the process was killed, the root is the old one or the new one, and the next change goes on from it."""
    versions = []
    for at in range(20):
        before = rooted.trust().root
        done = subprocess.run(
            [sys.executable, "-c", CHANGE_AND_DIE, str(at)], cwd=rooted.at, check=False, capture_output=True
        )
        after = rooted.trust()
        assert before is not None
        assert after.root is not None
        versions.append(after.root.version - before.version)
        if after.find(rooted.key_id("pia"), now=now()):
            gone = rooted("remove", "trust", rooted.key_id("pia"), "--key", "ada.pem", "--key", "ben.pem")
            assert gone.returncode == 0, gone.stderr
        if done.returncode == 0:
            break
    else:
        pytest.fail("the last run was killed too")

    assert len(versions) > 4
    assert set(versions) == {0, 1}

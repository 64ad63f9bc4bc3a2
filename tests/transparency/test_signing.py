"""The log's key signs no fork: it goes on from what it signed before, whatever became of the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders import NOW
from certification.conftest import World, make_world
from recert.certification import generate_key
from recert.certification.log.checkpoints import LogCheckpoint
from recert.certification.log.logged import log_checkpoint, log_envelope
from recert.certification.signing.issued import hold_memory
from recert.errors import RecordError, StoreError, VerificationError
from recert.store.transparency.folder import CHECKPOINT, ENTRIES, create_log

ORIGIN = "example.com/models"


class Signer:
    """A log's folder, its key, and the memory of who signs, apart from the folder."""

    def __init__(self, folder: Path, world: World) -> None:
        self.log = folder / "log"
        self.key = generate_key(folder / "log.pem", "log", ORIGIN)
        self.memory = folder / "state" / "issued.json"
        self.world = world
        create_log(self.log, ORIGIN)

    def append(self, entries: int = 1) -> None:
        """Put other certificates into the log."""
        for _ in range(entries):
            decision = self.world.certify()
            assert decision.envelope is not None
            log_envelope(self.log, decision.envelope, now=NOW)

    def sign(self, *, first: bool = False, adopt: bool = False) -> LogCheckpoint:
        """Sign where the log stands."""
        with hold_memory(self.memory) as memory:
            return log_checkpoint(self.log, self.key, memory=memory, first=first, adopt=adopt)

    def refusal(self, **how: bool) -> VerificationError:
        """Return why nothing is signed; what was signed last stays."""
        path = self.log / CHECKPOINT
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(VerificationError) as caught:
            self.sign(**how)
        assert caught.value.reason == "log-fork"
        assert caught.value.hint
        assert (path.read_bytes() if path.exists() else None) == before
        return caught.value

    def set_back(self, copy: Path) -> None:
        """Put a copy in the folder's place."""
        shutil.rmtree(self.log)
        shutil.copytree(copy, self.log)

    def forget(self) -> None:
        """Lose the memory, and what says that there was one."""
        for path in self.memory.parent.iterdir():
            path.unlink()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def signer(tmp_path: Path, world: World) -> Signer:
    """A log of three entries that are signed for."""
    made = Signer(tmp_path / "signer", world)
    made.sign(first=True)
    made.append(3)
    made.sign()
    return made


def test_a_folder_that_was_set_back_gets_no_fork_signed(signer: Signer, tmp_path: Path) -> None:
    """Neither as it was, nor with other entries, as many or more; both roots are named, and what to do."""
    shutil.copytree(signer.log, tmp_path / "copy")
    signer.append(2)
    newest = signer.sign()
    shutil.copytree(signer.log, tmp_path / "newest")
    signer.set_back(tmp_path / "copy")

    said = signer.refusal()
    assert "fewer entries" in said.message
    assert said.facts["root that was signed"] == newest.root.hex()
    for _ in range(3):
        signer.append()
        said = signer.refusal()
    assert "other entries" in said.message
    assert said.facts["root of the first 5 now"] != said.facts["root that was signed"] == newest.root.hex()
    assert "retire the log" in said.hint
    signer.set_back(tmp_path / "newest")
    signer.append()
    assert signer.sign().size == 6


def test_without_its_checkpoint_a_log_is_signed_for_where_it_goes_on(signer: Signer) -> None:
    """Deleted with all entries there, it is made again; deleted with an entry that was signed for, it is refused."""
    (signer.log / CHECKPOINT).unlink()
    assert signer.sign().size == 3
    (signer.log / CHECKPOINT).unlink()
    lines = (signer.log / ENTRIES).read_bytes().splitlines(keepends=True)
    for name in ("offsets", "hashes"):
        (signer.log / name).unlink()
    (signer.log / ENTRIES).write_bytes(b"".join(lines[:2]))

    assert "fewer entries" in signer.refusal().message
    signer.append()
    assert "other entries" in signer.refusal().message


def test_another_log_of_the_name_is_not_signed_for(signer: Signer) -> None:
    """One that begins anew is refused, with `--first` and `--adopt` too."""
    shutil.rmtree(signer.log)
    create_log(signer.log, ORIGIN)

    assert "fewer entries" in signer.refusal().message
    assert "has signed for a log of this name" in signer.refusal(first=True).message
    signer.append(4)
    for how in ({}, {"adopt": True}):
        assert "other entries" in signer.refusal(**how).message


def test_what_is_signed_is_remembered_before_it_is_released(signer: Signer, tmp_path: Path) -> None:
    """Killed between both, the key is held to what it signed; the same log goes on, an older copy does not."""
    shutil.copytree(signer.log, tmp_path / "copy")
    signer.append()
    (signer.log / "checkpoints").unlink()
    (signer.log / "checkpoints").mkdir()  # the checkpoint cannot be kept
    with pytest.raises(StoreError):
        signer.sign()
    (signer.log / "checkpoints").rmdir()
    shutil.copytree(signer.log, tmp_path / "killed")

    assert LogCheckpoint.parse((signer.log / CHECKPOINT).read_bytes()).size == 3
    signer.set_back(tmp_path / "copy")
    signer.append(2)
    assert "other entries" in signer.refusal().message
    signer.set_back(tmp_path / "killed")
    assert signer.sign().size == 4


def test_a_memory_that_cannot_be_written_releases_nothing(signer: Signer) -> None:
    """No signature leaves that is not remembered."""
    signer.append()
    before = (signer.log / CHECKPOINT).read_bytes()
    signer.memory.unlink()
    with pytest.raises(RecordError, match="what was issued before is gone"):
        signer.sign()

    assert (signer.log / CHECKPOINT).read_bytes() == before


def test_a_new_memory_begins_with_an_empty_log_or_a_checkpoint(signer: Signer) -> None:
    """One with entries is adopted where that is said, and from a checkpoint alone, which this key must have signed."""
    signer.forget()

    assert "nothing is known" in signer.refusal().message
    assert "nothing is known" in signer.refusal(first=True).message
    (signer.log / CHECKPOINT).rename(signer.log / "kept")
    assert "no checkpoint" in signer.refusal(adopt=True).message
    (signer.log / "kept").rename(signer.log / CHECKPOINT)
    assert signer.sign(adopt=True).size == 3
    signer.append()
    assert signer.sign().size == 4


def test_a_new_key_takes_over_a_log_that_is_remembered(signer: Signer, tmp_path: Path) -> None:
    """From the checkpoint of the key before; of a log that nobody here signed for it takes over nothing."""
    signer.key = generate_key(tmp_path / "new.pem", "log", ORIGIN)

    assert "nothing is known" in signer.refusal().message
    assert signer.sign(adopt=True).size == 3
    signer.key = generate_key(tmp_path / "newer.pem", "log", ORIGIN)
    signer.forget()
    assert "no checkpoint that this key has signed" in signer.refusal(adopt=True).message

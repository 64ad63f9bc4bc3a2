"""What models are loaded from: copies that nobody can swap, kept for bases, and gone for everything else."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from disks import full_disk
from recert.errors import CopyError, GatewayError, InputError, ModelError, SettingsError, StoreError
from recert.records.data.manifest import Manifest
from recert.store.files import model_copies
from recert.store.files.model_copies import model_files
from recert.store.files.private_copy import remove

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 40_000, "sub/tokenizer.json": b"tokens"}


def model(folder: Path, weights: bytes = FILES["model.safetensors"]) -> Path:
    """Write a model's folder."""
    for name, data in {**FILES, "model.safetensors": weights}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for copies."""
    monkeypatch.setenv("RECERT_COPIES", str(tmp_path / "copies"))
    return tmp_path / "copies"


def left(place: Path) -> list[str]:
    """Return what lies among the copies, by kind."""
    return sorted(path.name.partition("-")[0] for path in place.iterdir())


def forget() -> None:
    """Do as another process would, which has hashed nothing yet."""
    model_copies.CHECKED.clear()


def test_a_model_is_loaded_from_a_copy_that_is_gone_afterwards(place: Path, tmp_path: Path) -> None:
    """The copy has the folder's name and its manifest, is closed to others, and is removed at the end."""
    source = model(tmp_path / "mine")
    with model_files(source) as files:
        read = (files.folder / "model.safetensors").read_bytes()
        modes = {stat.S_IMODE(p.stat().st_mode) for p in files.folder.rglob("*") if p.is_file()}
        closed = stat.S_IMODE(files.folder.parent.stat().st_mode)

    assert files.manifest == Manifest.of_folder(source)
    assert (files.folder.name, read) == ("mine", FILES["model.safetensors"])
    assert (modes, closed) == ({0o400}, 0o700)
    assert left(place) == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_folder_that_is_renamed_away_and_back_is_read_as_what_is_loaded(
    place: Path, tmp_path: Path, *, keep: bool
) -> None:
    """Renaming changes nothing in a copy: manifest and bytes are those of one model, whichever was there first."""
    mine, other = model(tmp_path / "mine"), model(tmp_path / "other", b"nothing" * 40_000)
    with model_files(mine, "keep" if keep else "once") as files:
        mine.rename(tmp_path / "away")
        other.rename(mine)
        loaded = (files.folder / "model.safetensors").read_bytes()
        found = Manifest.of_folder(files.folder)
        mine.rename(other)
        (tmp_path / "away").rename(mine)

    assert loaded == FILES["model.safetensors"]
    assert found == files.manifest == Manifest.of_folder(mine)


def test_a_base_is_copied_once(place: Path, tmp_path: Path) -> None:
    """A second run uses the kept copy, whose bytes it hashes; another base of the same sizes gets a copy of its own."""
    source, same = model(tmp_path / "base"), model(tmp_path / "elsewhere" / "base")
    other = model(tmp_path / "other" / "base", b"nothing" * 40_000)
    inodes = []
    for folder in (source, source, same, other, other):
        forget()
        with model_files(folder, "keep") as files:
            assert files.manifest == Manifest.of_folder(folder)
            inodes.append((files.folder / "model.safetensors").stat().st_ino)

    assert inodes[0] == inodes[1] == inodes[2] != inodes[3] == inodes[4]
    assert left(place) == ["base", "base"]


def _write(path: Path) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"W")
    path.chmod(0o400)


def _add(path: Path) -> None:
    path.parent.chmod(0o700)
    (path.parent / "more.json").write_bytes(b"{}")
    path.parent.chmod(0o500)


def _open_to_all(path: Path) -> None:
    path.parent.parent.chmod(0o777)


@pytest.mark.parametrize("tamper", [_write, _add, _open_to_all])
@pytest.mark.parametrize("same_run", [True, False])
def test_a_kept_copy_that_is_not_right_is_made_anew(
    place: Path, tmp_path: Path, tamper: Callable[[Path], None], *, same_run: bool
) -> None:
    """Bytes written into it, files put beside, or a folder that others can enter: it is not used."""
    source = model(tmp_path / "base")
    with model_files(source, "keep") as files:
        kept = files.folder
    tamper(kept / "model.safetensors")
    if not same_run:
        forget()
    with model_files(source, "keep") as files:
        found = Manifest.of_folder(files.folder)

    assert found == files.manifest == Manifest.of_folder(source)


@pytest.mark.slow
def test_a_copy_that_is_touched_while_it_is_loaded_is_refused(place: Path, tmp_path: Path) -> None:
    """Even by this very user; nothing is left of it."""
    with pytest.raises(ModelError, match="changed while"), model_files(model(tmp_path / "mine")) as files:
        _write(files.folder / "model.safetensors")

    assert left(place) == []


def test_links_missing_and_empty_folders_are_refused(place: Path, tmp_path: Path) -> None:
    """As they always were: nothing is copied."""
    source = model(tmp_path / "mine")
    (source / "link").symlink_to("config.json")
    (tmp_path / "empty").mkdir()
    for folder in (source, tmp_path / "empty", tmp_path / "missing"):
        for copying in ("once", "keep"):
            with pytest.raises(InputError), model_files(folder, copying):  # type: ignore[arg-type]
                pass

    assert left(place) == []


def test_a_full_disk_says_where_and_how_much(place: Path, tmp_path: Path) -> None:
    """The error is one of the gateway and one of storage; it names the place, what is needed, and the setting."""
    source = model(tmp_path / "mine")
    for copying in ("once", "keep"):
        with full_disk(100_000), pytest.raises(CopyError) as caught, model_files(source, copying):  # type: ignore[arg-type]
            pass
        assert isinstance(caught.value, GatewayError)
        assert isinstance(caught.value, StoreError)
        assert caught.value.reason == "no-copy"
        assert caught.value.facts["it needs"] == "280,008 bytes"
        assert str(place) in caught.value.facts["copy"]
        assert "free there" in caught.value.facts
        assert "RECERT_COPIES" in caught.value.hint
    assert left(place) == []


def test_a_folder_for_copies_that_others_can_write_is_refused(place: Path, tmp_path: Path) -> None:
    """They could swap what lies in it."""
    place.mkdir()
    place.chmod(0o777)
    with (
        pytest.raises(SettingsError, match="can be written by others"),
        model_files(model(tmp_path / "mine")),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_command_leaves_no_copy(place: Path, tmp_path: Path, ended_by: signal.Signals) -> None:
    """Ctrl-C and SIGTERM, as commands take them, remove what was copied; what kill -9 left is removed later."""
    source = model(tmp_path / "mine")
    code = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "from recert.store.files.model_copies import model_files\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "with model_files(Path(sys.argv[1])):\n"
        "    print('loading', flush=True)\n"
        "    time.sleep(60)\n"
    )
    for number in (signal.SIGKILL, ended_by):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(source)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(number)
        child.wait()
        child.stdout.close()
    (of_killed,) = place.iterdir()
    with model_files(source):
        young = of_killed.exists()
    os.utime(of_killed, times=(0, time.time() - 7200))
    with model_files(source):
        pass

    assert young
    assert left(place) == []


def test_a_copy_in_use_is_not_removed_however_old(place: Path, tmp_path: Path) -> None:
    """A run may take hours: its copy is locked."""
    source = model(tmp_path / "mine")
    with model_files(source) as files:
        os.utime(files.folder.parent, times=(0, time.time() - 7200))
        with model_files(source):
            pass
        assert (files.folder / "config.json").exists()


@pytest.fixture(scope="module", autouse=True)
def _closed_folders_can_be_removed(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Let pytest remove what is read-only."""
    yield None
    for folder in tmp_path_factory.getbasetemp().glob("*/copies"):
        remove(folder)
        shutil.rmtree(folder, ignore_errors=True)

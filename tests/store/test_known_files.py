"""Files that were hashed before: what is known of them never differs from what hashing says now."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.digest import Stamp, read_folders
from recert.errors import MissingExtraError, SettingsError
from recert.records.data.manifest import Manifest
from recert.store.files.known_files import KnownFiles, mount_id

SETTLED_S = 0.03
"""More than a step of the clock that file times come from; the default has room for file systems with coarse ones."""
NAMES = ("config.json", "model-1.safetensors", "model-2.safetensors")
SHM = Path("/dev/shm")


def known_manifest(folder: Path, kept: Path, **changes: Any) -> tuple[Manifest, int]:
    """Return a folder's manifest as one run of a command gets it, and how many bytes it read."""
    asked: dict[str, Any] = {"settled_s": SETTLED_S}
    known = KnownFiles(kept, **(asked | changes))
    found = read_folders({"": folder}, known.read, threads=2)[""]
    known.save()
    return Manifest.of_hashes(found), known.read_bytes


def model(folder: Path) -> Path:
    """Write a folder of three read-only files of the same size, and wait until their times have settled."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(bytes([number]) * 5000)
        (folder / name).chmod(0o444)
    time.sleep(SETTLED_S * 1.5)
    return folder


@pytest.fixture(scope="module", autouse=True)
def on_a_file_system_with_times(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Elsewhere nothing is known, which is safe and leaves nothing to try."""
    place = tmp_path_factory.mktemp("times")
    folder = model(place / "model")
    known_manifest(folder, place / "kept")
    if known_manifest(folder, place / "kept")[1]:
        pytest.skip("the temporary folder is on a file system whose times say too little")


def test_an_untouched_file_is_not_read_again(tmp_path: Path) -> None:
    """A second look at a folder that nobody touched gives the same manifest and reads nothing."""
    folder = model(tmp_path / "model")
    first, read = known_manifest(folder, tmp_path / "kept")
    second, read_again = known_manifest(folder, tmp_path / "kept")

    assert (read, read_again) == (15_000, 0)
    assert first == second == Manifest.of_folder(folder)


def _keep_times(path: Path, change: Callable[[Path], object]) -> None:
    about = path.stat()
    change(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Root writes to a read-only file; everybody else changes its mode first, and puts it back."""
    allowed = os.access(path, os.W_OK)
    if not allowed:
        path.chmod(0o644)
    with path.open("r+b", buffering=0) as file:
        yield file
    if not allowed:
        path.chmod(0o444)


def _flip(path: Path) -> None:
    with _writing(path) as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]) if first else b"x")


def _flip_mapped(path: Path) -> None:
    with _writing(path) as file:
        if path.stat().st_size:
            with mmap.mmap(file.fileno(), 0) as mapped:
                mapped[0] ^= 1


def _replace(path: Path) -> None:
    other = path.parent.parent / "other"
    shutil.copy2(path, other)
    _flip(other)
    shutil.copystat(path, other)
    other.replace(path)


def _exchange(path: Path) -> None:
    other, aside = path.parent / NAMES[0], path.parent.parent / "aside"
    if other != path:
        path.rename(aside)
        other.rename(path)
        aside.rename(other)


def _cut(path: Path, *sizes: int) -> None:
    with _writing(path) as file:
        for size in sizes:
            file.truncate(size)


def _through_a_link(path: Path) -> None:
    link = path.parent.parent / "link"
    link.hardlink_to(path)
    _flip(link)
    link.unlink()


def _unlock_and_lock(path: Path) -> None:
    path.chmod(0o644)
    path.chmod(0o444)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": _flip,
    "a byte, times put back": lambda path: _keep_times(path, _flip),
    "a byte in memory, times put back": lambda path: _keep_times(path, _flip_mapped),
    "cut off, times put back": lambda path: _keep_times(path, lambda one: _cut(one, 100)),
    "cut off and filled up": lambda path: _cut(path, 10, 5000),
    "another file in its place, with its times": _replace,
    "two files exchanged": _exchange,
    "written through a hard link, times put back": lambda path: _keep_times(path, _through_a_link),
    "writable and back": _unlock_and_lock,
    "nothing": lambda path: None,
}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(sorted(CHANGES)), st.sampled_from(NAMES), st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_every_change_is_noticed(changes: list[tuple[str, str, bool]]) -> None:
    """
    After any changes, looked at in between or not, what is known of a folder is what hashing every byte says.
    """
    with TemporaryDirectory() as place:
        folder, kept = model(Path(place) / "model"), Path(place) / "kept"
        known_manifest(folder, kept)
        for what, name, settles in changes:
            CHANGES[what](folder / name)
            if settles:
                time.sleep(SETTLED_S * 1.5)

            assert known_manifest(folder, kept)[0] == Manifest.of_folder(folder)


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_a_file_that_somebody_still_writes_to_is_not_remembered(tmp_path: Path, place: str) -> None:
    """
    A page that was mapped before is written again without moving any time; so nothing is known while a writer is there.
    """
    if place == "memory" and not SHM.is_dir():
        pytest.skip("no file system in memory")
    with TemporaryDirectory(dir=SHM if place == "memory" else tmp_path) as made:
        folder, kept = Path(made) / "model", tmp_path / "kept"
        folder.mkdir()
        (folder / NAMES[0]).write_bytes(bytes(5000))
        with (folder / NAMES[0]).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0] = 7
            (folder / NAMES[0]).chmod(0o444)
            time.sleep(SETTLED_S * 1.5)
            known_manifest(folder, kept)
            before = (folder / NAMES[0]).stat()
            mapped[1] = 7
            found, read = known_manifest(folder, kept)

            assert Stamp.of((folder / NAMES[0]).stat()) == Stamp.of(before)
            assert (found, read) == (Manifest.of_folder(folder), 5000)


def test_a_file_that_can_be_written_to_is_not_remembered(tmp_path: Path) -> None:
    """Whoever may open a file for writing may change it without moving its times: it is read again."""
    folder = model(tmp_path / "model")
    (folder / NAMES[1]).chmod(0o464)
    time.sleep(SETTLED_S * 1.5)
    known_manifest(folder, tmp_path / "kept")

    assert known_manifest(folder, tmp_path / "kept")[1] == 5000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_remembered(tmp_path: Path) -> None:
    """Its owner may write to it in a user namespace of his own, whatever its mode."""
    folder = model(tmp_path / "model")
    os.chown(folder / NAMES[1], 12345, 12345)
    time.sleep(SETTLED_S * 1.5)
    known_manifest(folder, tmp_path / "kept")

    assert known_manifest(folder, tmp_path / "kept")[1] == 5000


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    """By default a file whose times are younger than two seconds is read again: another write could leave them so."""
    folder = model(tmp_path / "model")
    known_manifest(folder, tmp_path / "kept", settled_s=2.0)

    assert known_manifest(folder, tmp_path / "kept", settled_s=2.0)[1] == 15_000


def test_after_a_day_every_byte_is_read_again(tmp_path: Path) -> None:
    """What was hashed longer ago than the greatest age is hashed again."""
    folder = model(tmp_path / "model")
    known_manifest(folder, tmp_path / "kept")

    assert known_manifest(folder, tmp_path / "kept", most_age_s=60)[1] == 0
    assert known_manifest(folder, tmp_path / "kept", most_age_s=0)[1] == 15_000


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_costs_time_and_changes_no_answer(data: st.DataObject) -> None:
    """Whatever happens to what is kept, bits, cuts or another secret, the manifest is what hashing says."""
    with TemporaryDirectory() as place:
        folder, kept = model(Path(place) / "model"), Path(place) / "kept"
        known_manifest(folder, kept)
        path = kept / data.draw(st.sampled_from(("known", "secret")))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            del content[at:]
        path.write_bytes(content)
        found, _ = known_manifest(folder, kept)
        again, read = known_manifest(folder, kept)

        assert found == again == Manifest.of_folder(folder)
        assert read == 0


def test_lines_that_were_not_written_here_are_not_believed(tmp_path: Path) -> None:
    """A line of another user's, or one whose digest was exchanged, is passed over."""
    folder, kept = model(tmp_path / "model"), tmp_path / "kept"
    other = model(tmp_path / "other")
    _flip(other / NAMES[0])
    time.sleep(SETTLED_S * 1.5)
    known_manifest(folder, kept)
    known_manifest(other, tmp_path / "theirs")
    said = (kept / "known").read_text()
    digests = [f.sha256 for f in Manifest.of_folder(folder).files]
    (kept / "known").write_text(
        said.replace(digests[1], digests[2]) + (tmp_path / "theirs" / "known").read_text()
    )

    assert known_manifest(folder, kept) == (Manifest.of_folder(folder), 5000)
    assert known_manifest(other, kept) == (Manifest.of_folder(other), 15_000)


def test_a_secret_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    """A secret of another mode than 0600 is not used: everything is read again, under a new one."""
    folder, kept = model(tmp_path / "model"), tmp_path / "kept"
    known_manifest(folder, kept)
    before = (kept / "secret").read_bytes()
    (kept / "secret").chmod(0o644)

    assert known_manifest(folder, kept)[1] == 15_000
    assert (kept / "secret").read_bytes() != before
    assert (kept / "secret").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Where others can write, they can put their own secret; that folder is not used."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept").chmod(0o777)
    with pytest.raises(SettingsError):
        KnownFiles(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError):
        KnownFiles(tmp_path / "link")


def test_a_copy_is_known_by_its_blake3(tmp_path: Path) -> None:
    """Bytes that were hashed with both digests before need no sha256 elsewhere; others of the same size get theirs."""
    pytest.importorskip("blake3")
    folder, kept = model(tmp_path / "model"), tmp_path / "kept"
    known_manifest(folder, kept, blake3_threads=2)
    shutil.copytree(folder, tmp_path / "copy")
    _flip(tmp_path / "copy" / NAMES[2])
    known = KnownFiles(kept, untouched=False, blake3_threads=2)
    found = read_folders({"": tmp_path / "copy"}, known.read, threads=2)[""]

    assert Manifest.of_hashes(found) == Manifest.of_folder(tmp_path / "copy")
    assert known.read_bytes == 15_000


def test_blake3_says_that_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package nothing is hashed in another way than was asked for."""
    monkeypatch.setitem(__import__("sys").modules, "blake3", None)
    with pytest.raises(MissingExtraError, match="blake3"):
        known_manifest(model(tmp_path / "model"), tmp_path / "kept", blake3_threads=1)


def test_a_file_system_that_was_unmounted_meanwhile_is_read_again(tmp_path: Path) -> None:
    """Another mount at the same place, or one that nobody can tell, makes every file unknown; the old one knows it."""
    folder = model(tmp_path / "model")
    mounts: list[int | None] = [1, 1, 2, 2, None, None, 2, 1]
    read = [known_manifest(folder, tmp_path / "kept", mount_of=lambda _, n=n: n)[1] for n in mounts]

    assert read == [15_000, 0, 15_000, 0, 15_000, 15_000, 0, 0]


def test_a_mount_that_changes_while_a_file_is_hashed_is_not_remembered(tmp_path: Path) -> None:
    """What was hashed then is of neither."""
    folder, numbers = model(tmp_path / "model"), iter(range(1, 1000))
    known_manifest(folder, tmp_path / "kept", mount_of=lambda _: next(numbers))
    read = [known_manifest(folder, tmp_path / "kept", mount_of=lambda _, n=n: n)[1] for n in range(1, 8)]

    assert read[0] == 15_000


def test_the_kernels_number_of_a_mount_is_told(tmp_path: Path) -> None:
    """The same for files of one mount, another one for another mount; none for a file that is not there."""
    (tmp_path / "a").write_bytes(b"")
    if mount_id(tmp_path) is None:
        pytest.skip("this kernel is older than 6.8")

    assert mount_id(tmp_path) == mount_id(tmp_path / "a") != mount_id(Path("/proc/self"))
    assert mount_id(tmp_path / "missing") is None


def test_blocks_that_changed_on_an_unmounted_disk_are_found(tmp_path: Path) -> None:
    """A byte is flipped in the image of a disk while it is not mounted: times, inode and size are as they were."""
    image, place = tmp_path / "disk", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(4 << 20)

    def run(*words: object) -> bool:
        done = subprocess.run([str(word) for word in words], capture_output=True, check=False)
        return done.returncode == 0

    if (
        os.geteuid() != 0
        or not run("mkfs.ext4", "-q", "-F", image)
        or not run("mount", "-o", "loop", image, place)
    ):
        pytest.skip("no disk can be mounted here")
    try:
        folder = model(place / "model")
        first, _ = known_manifest(folder, tmp_path / "kept")
        again, untouched = known_manifest(folder, tmp_path / "kept")
    finally:
        run("umount", place)
    data = image.read_bytes()
    at = data.index(bytes([1]) * 5000)
    image.write_bytes(data[:at] + b"!" + data[at + 1 :])
    assert run("mount", "-o", "loop", image, place)
    try:
        found, read = known_manifest(folder, tmp_path / "kept")
        truth = Manifest.of_folder(folder)
    finally:
        run("umount", place)

    assert (again, untouched) == (first, 0)
    assert (found, read) == (truth, 15_000)
    assert found != first

"""Private copies: what is hashed is what is loaded, whatever happens to the folder meanwhile."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from recert.errors import GatewayError, VerificationError
from recert.records.data.manifest import Manifest
from recert.store.files.private_copy import PrivateCopy, look_at
from strangers import as_stranger, needs_root

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 40_000, "sub/tokenizer.json": b"tokens"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model folder."""
    folder = tmp_path / "model"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_copy_is_the_certified_files_and_closed(source: Path, tmp_path: Path) -> None:
    """Same manifest, other inodes; nobody else may enter, nobody may write; it can be removed."""
    manifest = Manifest.of_folder(source)
    made = PrivateCopy.make(source, manifest, tmp_path / "copy")
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    folders = {p.stat().st_mode & 0o777 for p in (made.folder, made.folder / "sub")}
    inodes = [(source / n).stat().st_ino != (made.folder / n).stat().st_ino for n in FILES]
    made.still()
    made.rehash()
    copied = Manifest.of_folder(made.folder)
    made.remove()

    assert manifest == copied
    assert modes == {0o400}
    assert folders == {0o500}
    assert all(inodes)
    assert not made.folder.exists()


def swap(source: Path) -> None:
    """Put other bytes of the same size in place."""
    data = (source / "model.safetensors").read_bytes()
    (source / "new").write_bytes(data[:-1] + b"!")
    (source / "new").replace(source / "model.safetensors")


def link(source: Path) -> None:
    """Put a link to the same bytes in place of the file."""
    (source / "model.safetensors").rename(source.parent / "elsewhere")
    (source / "model.safetensors").symlink_to(source.parent / "elsewhere")


def link_folder(source: Path) -> None:
    """Put a link in place of a folder on the way."""
    (source / "sub").rename(source.parent / "elsewhere")
    (source / "sub").symlink_to(source.parent / "elsewhere")


def grow(source: Path) -> None:
    """Append to a file."""
    with (source / "config.json").open("ab") as file:
        file.write(b" ")


def add(source: Path) -> None:
    """Add a file that an engine would load."""
    (source / "adapter_config.json").write_text("{}")


def add_link(source: Path) -> None:
    """Add a link to a folder."""
    (source / "more").symlink_to(source.parent)


def pipe(source: Path) -> None:
    """Put a pipe in place of a file: opening one can hang."""
    (source / "config.json").unlink()
    os.mkfifo(source / "config.json")


def take(source: Path) -> None:
    """Take a file away."""
    (source / "sub" / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (swap, "file-differs"),
        (grow, "file-differs"),
        (link, "file-missing"),
        (link_folder, "file-missing"),
        (pipe, "file-missing"),
        (take, "file-missing"),
        (add, "extra-file"),
        (add_link, "extra-file"),
    ],
)
def test_what_changed_since_verification_is_refused(
    source: Path, tmp_path: Path, attack: Callable[[Path], None], expected: str
) -> None:
    """Swapped, grown, linked, piped, missing or added between check and load: no copy, and nothing is left."""
    manifest = Manifest.of_folder(source)
    attack(source)
    with pytest.raises(VerificationError) as caught:
        PrivateCopy.make(source, manifest, tmp_path / "copy")

    assert expected == caught.value.reason
    assert not (tmp_path / "copy").exists()


def test_a_swap_at_any_moment_never_gets_into_a_copy(source: Path, tmp_path: Path) -> None:
    """While a file is swapped back and forth as fast as can be, each copy is refused or is what was certified."""
    manifest = Manifest.of_folder(source)
    good, target = source / "model.safetensors", tmp_path / "evil"
    data = good.read_bytes()
    target.write_bytes(data[:-1] + b"!")
    done = threading.Event()

    def swapping() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            (tmp_path / "next").write_bytes(data if turn % 2 else target.read_bytes())
            (tmp_path / "next").replace(good)

    attacker = threading.Thread(target=swapping)
    attacker.start()
    refused, made = 0, []
    try:
        for number in range(60):
            try:
                made.append(PrivateCopy.make(source, manifest, tmp_path / f"copy{number}"))
            except VerificationError as exc:
                assert exc.reason == "file-differs"
                refused += 1
    finally:
        done.set()
        attacker.join()

    assert refused
    assert all(Manifest.of_folder(one.folder) == manifest for one in made)


def touch(path: Path) -> None:
    """Set a file's time, as it was."""
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def write_through(path: Path) -> None:
    """Change a byte and put the old times back."""
    about = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"W")
    path.chmod(0o400)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def replace(path: Path) -> None:
    """Put another file with the same bytes in place."""
    path.parent.chmod(0o700)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    path.parent.chmod(0o500)


def add_beside(path: Path) -> None:
    """Add a file."""
    path.parent.chmod(0o700)
    (path.parent / "extra").write_bytes(b"")
    path.parent.chmod(0o500)


@pytest.mark.parametrize("tamper", [touch, write_through, replace, add_beside])
def test_a_copy_that_is_touched_says_so(source: Path, tmp_path: Path, tamper: Callable[[Path], None]) -> None:
    """Even by this very user, with times and modes put back: `still` sees that something was touched."""
    made = PrivateCopy.make(source, Manifest.of_folder(source), tmp_path / "copy")
    tamper(made.folder / "model.safetensors")
    with pytest.raises(VerificationError) as caught:
        made.still()

    assert caught.value.reason == "files-changed"


def test_a_hash_sees_what_times_do_not_show(source: Path, tmp_path: Path) -> None:
    """A byte that changed below the file system, as a bad disk would do it, is found when every byte is hashed."""
    made = PrivateCopy.make(source, Manifest.of_folder(source), tmp_path / "copy")
    write_through(made.folder / "model.safetensors")
    made = PrivateCopy(made.folder, made.manifest, look_at(made.folder))
    made.still()
    with pytest.raises(VerificationError) as caught:
        made.rehash()

    assert caught.value.reason == "files-changed"


@needs_root
def test_nobody_else_can_read_a_copy(source: Path) -> None:
    """Another user of the machine cannot enter the folder, even by a full path."""
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        beside = Path(open_to_all) / "beside"
        beside.write_bytes(b"")
        made = PrivateCopy.make(source, Manifest.of_folder(source), Path(open_to_all) / "copy")
        met = [as_stranger(path.read_bytes) for path in (beside, made.folder / "config.json")]
        made.remove()

    assert met == ["", "PermissionError"]


def test_a_full_disk_is_an_error_with_what_to_do(source: Path) -> None:
    """A copy that cannot be written says so, and where else it may lie."""
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full here")
    with pytest.raises(GatewayError) as caught:
        PrivateCopy.make(source, Manifest.of_folder(source), Path("/dev/full/copy"))

    assert caught.value.reason == "no-copy"
    assert "--copies" in str(caught.value)

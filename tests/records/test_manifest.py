"""Hashing folders: the same digests on any number of threads, and no digest of a file that is being written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import write_model
from recert.digest import hash_file, hash_folders
from recert.errors import StoreError
from recert.records.data.manifest import Manifest

BIG = 3 << 20
names = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?\.bin", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(names, st.binary(max_size=50), min_size=1, max_size=6), threads=st.integers(1, 4)
)
def test_threads_change_no_digest(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], threads: int
) -> None:
    """Name, size and sha256 of every file are those that hashlib gives, in order of name."""
    folder = write_model(tmp_path_factory.mktemp("model"), files)
    found = hash_folders({"one": folder, "two": folder}, threads=threads)
    expected = [(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())]

    assert [(f.name, f.size_bytes, f.sha256) for f in Manifest.of_hashes(found["one"]).files] == expected
    assert Manifest.of_hashes(found["one"]) == Manifest.of_hashes(found["two"]) == Manifest.of_folder(folder)


def test_a_folder_of_large_files_has_the_same_manifest(tmp_path: Path) -> None:
    """Files of several blocks are hashed to their end, and progress reaches the whole."""
    files = {f"{n}.bin": os.urandom(BIG + n) for n in range(3)}
    told: list[tuple[int, int]] = []
    folder = write_model(tmp_path / "model", files)
    hash_folders({"": folder}, threads=2, progress=lambda done, total: told.append((done, total)))

    assert told[-1] == (sum(map(len, files.values())),) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert [f.sha256 for f in Manifest.of_folder(folder).files] == [
        hashlib.sha256(data).hexdigest() for data in files.values()
    ]


@pytest.mark.parametrize(
    "what", ["written", "written, times put back", "replaced", "replaced by a link", "longer"]
)
def test_a_file_that_is_touched_while_it_is_hashed_has_no_digest(tmp_path: Path, what: str) -> None:
    """Whatever happens to a file between its first and its last block, hashing says so."""
    path = write_model(tmp_path, {"model.safetensors": bytes(BIG), "other": bytes(BIG)}) / "model.safetensors"
    about = path.stat()

    def touch(_: int) -> None:
        if what == "replaced":
            (tmp_path / "other").replace(path) if (tmp_path / "other").exists() else None
        elif what == "replaced by a link":
            path.unlink(missing_ok=True)
            path.symlink_to(tmp_path / "other")
        else:
            with path.open("ab" if what == "longer" else "r+b") as file:
                file.write(b"x")
            if what == "written, times put back":
                os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

    with pytest.raises(StoreError, match="touched"):
        hash_file(path, tell=touch)


def test_the_first_failure_ends_the_others(tmp_path: Path) -> None:
    """A file that goes away is said at once, and the rest is not read to the end."""
    folder = write_model(tmp_path / "model", {f"{n}.bin": bytes(BIG) for n in range(8)})
    done: list[int] = []

    def progress(read: int, total: int) -> None:
        (folder / "7.bin").unlink(missing_ok=True)
        (folder / "0.bin").unlink(missing_ok=True)
        done.append(read)

    with pytest.raises(StoreError):
        hash_folders({"": folder}, threads=2, progress=progress)

    assert max(done) < 8 * BIG

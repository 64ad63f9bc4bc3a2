"""`verify --cached`: a folder that nobody touched is not read again, and nobody swaps anything past it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from certified_folders import Certified
from recert.certification.verifier.folders import Reading
from recert.errors import StoreError
from recert.store.files.known_files import KnownFiles

SETTLED_S = 2.1


def run(certified: Certified, *options: str) -> subprocess.CompletedProcess[str]:
    """Return what `recert verify` said."""
    given = ["--base", certified.base, "--model", certified.tuned, "--trust", certified.trust, *options]
    return subprocess.run(
        [sys.executable, "-m", "recert", "verify", certified.certificate, *given],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "RECERT_CACHE": str(certified.folder / "cache")},
    )


def swap(path: Path, data: bytes) -> None:
    """Put other bytes of the same length into a file, and its times back."""
    about = path.stat()
    assert len(data) == about.st_size
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(about.st_mode)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.slow
def test_a_swapped_file_is_refused_though_its_times_were_put_back(tmp_path: Path) -> None:
    """
    Verified twice, the second time without reading a byte; then one byte is changed, and `--cached` refuses as without.
    """
    certified = Certified(tmp_path)
    weights = certified.base / "model.safetensors"
    before = weights.read_bytes()
    for path in (*certified.base.rglob("*"), *certified.tuned.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    time.sleep(SETTLED_S)
    first, second = run(certified, "--cached"), run(certified, "--cached")
    size = sum(f.size_bytes for f in (*certified.content.base.files, *certified.content.tuned.files))
    swap(weights, bytes([before[0] ^ 1]) + before[1:])
    refused, plain = run(certified, "--cached"), run(certified)
    swap(weights, before)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert f"{size} of {size} bytes" in first.stderr
    assert "read each time" not in second.stderr
    if f"{size} of {size} bytes" in second.stderr:
        pytest.skip("the temporary folder is on a file system whose times say too little")
    assert f"0 of {size} bytes" in second.stderr
    assert (refused.returncode, plain.returncode) == (1, 1)
    assert refused.stderr == plain.stderr
    assert "file-differs" in refused.stderr
    assert run(certified, "--cached").returncode == 0


@pytest.mark.slow
def test_blake3_gives_the_same_answers(tmp_path: Path) -> None:
    """With `--blake3` what is certified is accepted, the first time and the next, and what was swapped is refused."""
    pytest.importorskip("blake3")
    certified = Certified(tmp_path)
    first, second = run(certified, "--blake3"), run(certified, "--blake3")
    weights = certified.tuned / "adapter_model.safetensors"
    swap(weights, weights.read_bytes()[::-1])
    refused, plain = run(certified, "--blake3"), run(certified)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (refused.returncode, refused.stderr) == (plain.returncode, plain.stderr)
    assert refused.returncode == 1


def test_a_file_that_changes_while_it_is_verified_is_no_answer(world):
    """Whoever writes to a certified file meanwhile gets neither a yes nor a digest of half of it."""
    path = world.base_dir / "model.safetensors"

    def write(done, total):
        path.write_bytes(path.read_bytes())

    with pytest.raises(StoreError, match="touched"):
        world.verify(reading=Reading(progress=write))


def test_a_cache_that_cannot_be_written_changes_no_answer(world, tmp_path):
    """A disk that is full, here a folder in the place of the file, costs the time of hashing again."""
    known = KnownFiles(tmp_path / "kept")
    (tmp_path / "kept" / "known").mkdir()

    assert world.verify(reading=Reading(known)).certificate == world.verify().certificate

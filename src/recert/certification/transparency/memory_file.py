"""
The file in which a verifier's memory lies between two runs: a line of JSON, and a line with its digest.

Losing a part of it, or all of it, is noticed: what is damaged, or gone after it was once written, is no new beginning.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.records import VerifierMemory
from recert.settings import cache_dir
from recert.store.files import read_bytes, write_atomic


def default_memory() -> Path:
    """Return where the memory lies unless told otherwise: `seen.json` in the cache folder."""
    return cache_dir() / "seen.json"


def read_memory(path: Path) -> VerifierMemory:
    """
    Return what was seen before; nothing where nothing was ever written.

    Raises:
        StoreError: it cannot be read.
        RecordError: it is damaged or gone. To begin anew would be to forget what must not be forgotten.
    """
    if not path.exists():
        beside = _lock_path(path)
        if beside.exists() and beside.stat().st_size:
            raise RecordError(
                "what was seen before is gone",
                facts={"file": path},
                hint=f"remove {beside} too, but only if you know that neither clock, status list nor log was set back",
            )
        return VerifierMemory()
    line, _, digest = read_bytes(path, "memory of what was seen").partition(b"\n")
    try:
        if digest != sha256_bytes(line).encode() + b"\n":
            raise RecordError("its digest is another")
        memory = VerifierMemory.from_json(line)
        if memory.schema_version != 1:
            raise RecordError("of another version", facts={"schema_version": memory.schema_version})
    except RecordError as exc:
        raise RecordError(
            "what was seen before cannot be read",
            facts={"file": path, "because": exc.message, **exc.facts},
            hint="remove the file and its `.lock`, but only if you know that neither clock, status list nor log was "
            "set back",
        ) from exc
    return memory


def update_memory(
    path: Path,
    before: VerifierMemory,
    after: VerifierMemory,
    again: Callable[[VerifierMemory], VerifierMemory],
) -> None:
    """
    Write what is remembered now, in mode 0600.

    Args:
        path: the file.
        before: what had been read from it.
        after: what came of it.
        again: decides anew where another process has written meanwhile, and returns what then comes of it.

    Raises:
        StoreError: it cannot be written.
        RecordError: it was damaged meanwhile.
        VerificationError: by `again`: what the other process saw goes against this.
    """
    if before == after and path.exists():
        return
    with _locked(path) as lock:
        now = read_memory(path)
        line = (after if now == before else again(now)).to_json()
        write_atomic(path, line + b"\n" + sha256_bytes(line).encode() + b"\n", mode=0o600)
        if not os.fstat(lock).st_size:
            os.write(lock, b"written\n")  # from now on its absence is damage


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except BaseException:
            os.close(lock)
            raise
    except OSError as exc:
        raise StoreError(
            "cannot remember what was seen",
            facts={"file": path, "because": exc.strerror},
            hint="give another file with --memory, or `none`: then a log or list that is set back goes unnoticed",
        ) from exc
    try:
        yield lock
    finally:
        os.close(lock)

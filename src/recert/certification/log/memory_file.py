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

from recert.certification.log.memory import Memory, ProcessMemory
from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.records.signed.transparency import VerifierMemory
from recert.settings import cache_dir, memory_file
from recert.store.files.writing import read_bytes, write_atomic


def default_memory() -> Path:
    """Return where the memory lies unless told otherwise: `seen.json` in the cache folder."""
    return cache_dir() / "seen.json"


def memory_at(given: str = "") -> Memory:
    """
    Return the memory that a command or a plug-in keeps.

    Args:
        given: its file, or `none` for one that ends with the process; by default the one of the settings, else
            `default_memory`.
    """
    named = given or memory_file()
    return ProcessMemory() if named == "none" else MemoryFile(Path(named) if named else default_memory())


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


class MemoryFile:
    """
    A verifier's memory in a file of mode 0600, which several processes may share.

    Args:
        path: the file; made where nothing was ever written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> VerifierMemory:
        """Return what was seen before. Raises as `read_memory`."""
        return read_memory(self._path)

    def keep(self, change: Callable[[VerifierMemory], VerifierMemory]) -> VerifierMemory:
        """
        Write what is seen now, beside what other processes wrote meanwhile, and return it.

        Raises:
            StoreError: it cannot be written.
            RecordError: it is damaged.
            VerificationError: by `change`.
        """
        before = self.read()
        after = change(before)
        if after == before and self._path.exists():
            return after
        with _locked(self._path) as lock:
            now = read_memory(self._path)
            after = after if now == before else change(now)
            line = after.to_json()
            write_atomic(self._path, line + b"\n" + sha256_bytes(line).encode() + b"\n", mode=0o600)
            if not os.fstat(lock).st_size:
                os.write(lock, b"written\n")  # from now on its absence is damage
        return after


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

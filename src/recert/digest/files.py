"""Hashing one file: opened once, read from one end to the other, and looked at before and after."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from recert.errors import MissingExtraError, StoreError

_BLOCK_BYTES: Final = 1 << 20
"""Stays in a core's own cache between the read and the hash."""
_MOST_BYTES: Final = 32 << 20
"""Of a block that BLAKE3 shares out among cores."""

Tell = Callable[[int], None]
"""Told how many more bytes were read; what it raises ends the hashing."""


class Stamp(NamedTuple):
    """What no rename, link or change of mode leaves as it was, and hardly a write: only the kernel sets `ctime_ns`."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, about: os.stat_result) -> Stamp:
        """Return the stamp in what `stat` says."""
        return cls(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@dataclass(frozen=True)
class FileHash:
    """
    The digests of one file's bytes, and how the file looked before, meanwhile and after.

    Args:
        stamp: how it looked.
        sha256: 64 hex digits; empty where it was not asked for.
        blake3: likewise.
        began_ns: when it was opened, by the clock that file times come from.
        unwritable: nobody but root and this user can have written to it from `began_ns` on while its stamp stays: its
            mode lets nobody write, it belongs to this user, and the kernel said that nobody had it open for writing.
    """

    stamp: Stamp
    sha256: str = ""
    blake3: str = ""
    began_ns: int = 0
    unwritable: bool = False


def sha256_file(path: Path) -> str:
    """
    Return the sha256 of a file, as 64 lower-case hex digits.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path, "because": exc.strerror}) from exc


def hash_file(
    path: Path,
    seen: Stamp | None = None,
    *,
    sha256: bool = True,
    blake3_threads: int = 0,
    tell: Tell = lambda _: None,
) -> FileHash:
    """
    Return the digests of a file that nobody touches while it is read.

    One stream of sha256 takes one core, however big the file. BLAKE3 is a tree, which several cores take apart.

    Args:
        path: the file.
        seen: how it looked when it was listed; a link or another file in its place is noticed by it.
        sha256: compute sha256.
        blake3_threads: cores that compute BLAKE3; 0 where it is not wanted.
        tell: told of every block.

    Raises:
        StoreError: the file cannot be read, or was touched meanwhile.
        MissingExtraError: BLAKE3 is wanted and not installed.
    """
    hashers = [hashlib.sha256()] if sha256 else []
    other = _blake3(blake3_threads) if blake3_threads else None
    updates = [one.update for one in (*hashers, *([other] if other else ()))]
    block_bytes = _BLOCK_BYTES if sha256 else min(2 * _BLOCK_BYTES * blake3_threads, _MOST_BYTES)
    block = memoryview(bytearray(block_bytes))
    began_ns = time.time_ns()
    try:
        with path.open("rb", buffering=0) as file:
            unwritable = _is_unwritable(file.fileno())
            before, read = Stamp.of(os.fstat(file.fileno())), 0
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while count := file.readinto(block):
                for update in updates:
                    update(block[:count])
                read += count
                tell(count)
                if read > before.size_bytes:  # somebody writes as fast as this reads
                    break
            after = Stamp.of(os.fstat(file.fileno()))
            there = Stamp.of(path.lstat())
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path, "because": exc.strerror}) from exc
    if not (seen or before) == before == after == there or read != before.size_bytes:
        raise StoreError(
            "file was touched while it was hashed",
            facts={"file": path},
            hint="find out who writes there, and try again",
        )
    return FileHash(
        stamp=before,
        sha256=hashers[0].hexdigest() if hashers else "",
        blake3=other.hexdigest() if other else "",
        began_ns=began_ns,
        unwritable=unwritable,
    )


def _is_unwritable(file: int) -> bool:
    """
    Say whether whoever wants to write to an open file must change its mode first, which moves its time of change.

    Writing alone need not move it: not to a page that is mapped and dirty, on tmpfs to no mapped page at all, nor where
    blocks are exchanged (ext4, XFS). All of that needs a file that is open for writing. The kernel grants a read lease
    exactly where no such file is left, mapped ones included, and the mode lets nobody open another.
    """
    about = os.fstat(file)
    if about.st_mode & 0o222 or about.st_uid != os.geteuid():
        return False
    try:
        import fcntl

        # a lease that somebody breaks sends a signal, which by default ends the process; this one is ignored by default
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (ImportError, AttributeError, OSError):  # no Linux, or somebody writes
        return False
    return True


class _Hasher(Protocol):
    def update(self, data: memoryview, /) -> object: ...

    def hexdigest(self) -> str: ...


def _blake3(threads: int) -> _Hasher:
    try:
        from blake3 import blake3
    except ImportError as exc:
        raise MissingExtraError("BLAKE3 is not installed", hint="install recert[blake3]") from exc
    hasher: _Hasher = blake3(max_threads=threads)
    return hasher

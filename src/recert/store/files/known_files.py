"""
Files that were hashed before: those that look untouched need not be read again, and others may be read faster.

Every line of the file carries a MAC under a secret of mode 0600, and says nothing but what was true when it was
written. Losing lines, or the secret, costs time and changes no answer. `docs/concepts/certificate.md` says against whom
this holds.

Here too: whether a file system stayed mounted: the kernel's number of a mount, which no other mount gets until a
restart.
"""

from __future__ import annotations

import ctypes
import hmac
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from recert.digest import FileHash, Stamp, hash_file
from recert.digest.files import Tell
from recert.policy.sections.known_files import FILE_SYSTEMS, MOST_AGE_S, SETTLED_S
from recert.store.files.private import own_folder, own_mac_key
from recert.store.files.writing import write_atomic

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_MNT_ID_UNIQUE: Final = 0x4000
"""Linux 6.8 and later. The older number, which `/proc/self/mountinfo` shows, is given out again after an unmount."""
_STATX_BYTES: Final = 256
_MOUNT_AT: Final = 0x90


def mount_id(path: Path) -> int | None:
    """Return the number of the mount through which a file is reached now; None where nobody can tell."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        statx = ctypes.CDLL(None).statx
        failed = statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _MNT_ID_UNIQUE, found)
    except (AttributeError, OSError, ctypes.ArgumentError):  # no Linux, or a C library without it
        return None
    if failed or not int.from_bytes(found.raw[:4], sys.byteorder) & _MNT_ID_UNIQUE:
        return None
    return int.from_bytes(found.raw[_MOUNT_AT : _MOUNT_AT + 8], sys.byteorder) or None


_PURPOSE: Final = b"recert known files 2\n"
_SECRET: Final = "secret of known files"  # noqa: S105
_MOST_LINES: Final = 100_000
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS: Final = Path("/proc/self/mountinfo")


class KnownFiles:
    """
    What is known of files by their looks, and by their BLAKE3.

    Args:
        folder: where it is kept: a folder of this user's that nobody else can write. It is made.
        untouched: take the sha256 of a file that looks as it did when it was hashed, and do not read it.
        blake3_threads: cores for all files together; read those that cannot be taken so with BLAKE3, which is about
            three times as fast, where a file of the same BLAKE3 was hashed with both before. 0 for sha256 alone.
        settled_s: how old the times of a file must be, when its hashing begins, for it to be remembered.
        most_age_s: how long it is known after that.
        mount_of: gives the number of a file's mount, or None where nobody can tell. A file is known while it is reached
            through the very mount of then: of a disk that was unmounted meanwhile nobody knows who wrote to it.

    Raises:
        SettingsError: the folder belongs to, or can be written by, somebody else.
        StoreError: it cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        untouched: bool = True,
        blake3_threads: int = 0,
        settled_s: float = SETTLED_S,
        most_age_s: float = MOST_AGE_S,
        mount_of: Callable[[Path], int | None] = mount_id,
    ) -> None:
        own_folder(folder, "known files", "RECERT_CACHE")
        self._settled_ns = int(settled_s * 1e9)
        self._most_age_ns = int(most_age_s * 1e9)
        self._mount_of = mount_of
        self._folder = folder
        self._untouched_wanted = untouched
        self._blake3_threads = blake3_threads
        self._secret = own_mac_key(folder / "secret", _SECRET)
        self._boot = _read_text(_BOOT_ID).strip()
        self._trusted = _trusted_devices()
        self._untouched: dict[tuple[Stamp, int], tuple[str, int]] = {}
        self._twins: dict[str, tuple[str, int]] = {}
        self._twin_sizes: set[int] = set()
        self._lock = threading.Lock()
        self._reading = 0
        self.read_bytes = 0
        """Size of all files that were read; the others looked untouched."""
        self.not_remembered = 0
        """Files that were read and will be read the next time too: somebody could write to them, or just did."""
        self._load()

    def read(self, path: Path, seen: Stamp, tell: Tell) -> FileHash:
        """
        Return a file's sha256: known, by its BLAKE3, or hashed now. Files may be read on several threads at once.

        Args:
            path: the file.
            seen: how it looked when its folder was listed.
            tell: told of every block.

        Raises:
            StoreError: the file cannot be read, or was touched meanwhile.
            MissingExtraError: BLAKE3 is wanted and not installed.
        """
        mount = self._mount_of(path) if seen.device in self._trusted else None
        if self._untouched_wanted and mount is not None and (seen, mount) in self._untouched:
            sha256, hashed_at_ns = self._untouched[seen, mount]
            if self._is_recent(hashed_at_ns):
                tell(seen.size_bytes)
                return FileHash(seen, sha256=sha256)
        with self._lock:
            self._reading += 1
        try:
            found = self._hash(path, seen, tell)
        finally:
            with self._lock:
                self._reading -= 1
        with self._lock:
            self.read_bytes += seen.size_bytes
            self._remember(found, mount if mount == self._mount_of(path) else None)
        return found

    def save(self) -> None:
        """
        Keep what was learned. Others may have written meanwhile: their lines stay.

        Raises:
            StoreError: the file cannot be written; the old one stays.
        """
        self._load()
        lines = [
            self._line("twin", blake3, sha256, str(size)) for blake3, (sha256, size) in self._twins.items()
        ]
        lines += [
            self._line("untouched", self._boot, *map(str, stamp), str(mount), str(hashed_at_ns), sha256)
            for (stamp, mount), (sha256, hashed_at_ns) in self._untouched.items()
        ]
        write_atomic(self._file, b"".join(lines[-_MOST_LINES:]), mode=0o600)

    def _hash(self, path: Path, seen: Stamp, tell: Tell) -> FileHash:
        if self._blake3_threads == 0:
            return hash_file(path, seen, tell=tell)
        if seen.size_bytes in self._twin_sizes:
            cores = max(1, self._blake3_threads // self._reading)
            fast = hash_file(path, seen, sha256=False, blake3_threads=cores, tell=tell)
            if (twin := self._twins.get(fast.blake3)) is not None:
                return replace(fast, sha256=twin[0])
            return hash_file(path, seen, blake3_threads=1, tell=lambda _: tell(0))  # its bytes were counted
        return hash_file(path, seen, blake3_threads=1, tell=tell)

    def _remember(self, found: FileHash, mount: int | None) -> None:
        if found.blake3:
            self._learn_twin(found.blake3, found.sha256, found.stamp.size_bytes)
        stamp, settled_ns = found.stamp, found.began_ns - self._settled_ns
        settled = max(stamp.mtime_ns, stamp.ctime_ns) < settled_ns
        if found.unwritable and settled and self._boot and mount is not None:
            self._untouched[stamp, mount] = (found.sha256, found.began_ns)
        else:
            self.not_remembered += 1

    def _learn_twin(self, blake3: str, sha256: str, size_bytes: int) -> None:
        self._twins[blake3] = (sha256, size_bytes)
        self._twin_sizes.add(size_bytes)

    @property
    def _file(self) -> Path:
        return self._folder / "known"

    def _load(self) -> None:
        for kind, *rest in self._lines():
            if kind == "twin":
                self._learn_twin(rest[0], rest[1], int(rest[2]))
            elif kind == "untouched" and rest[0] == self._boot:
                *numbers, mount, hashed_at_ns = map(int, rest[1:-1])
                if self._is_recent(hashed_at_ns):
                    self._untouched.setdefault((Stamp(*numbers), mount), (rest[-1], hashed_at_ns))

    def _is_recent(self, hashed_at_ns: int) -> bool:
        return 0 <= time.time_ns() - hashed_at_ns < self._most_age_ns

    def _lines(self) -> Iterator[list[str]]:
        """Yield the words of each line whose MAC is right; whatever else is there was never written by us."""
        try:
            data = self._file.read_bytes()
        except OSError:
            return
        for line in data.splitlines():
            mac, _, said = line.partition(b" ")
            if hmac.compare_digest(mac, self._mac(said)):
                yield said.decode("ascii").split(" ")

    def _line(self, *words: str) -> bytes:
        said = " ".join(words).encode("ascii")
        return self._mac(said) + b" " + said + b"\n"

    def _mac(self, said: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + said, "sha256").hex().encode("ascii")


def _trusted_devices() -> frozenset[int]:
    """Return the devices that hold none but trusted file systems, by what the kernel says of its mounts."""
    kinds: dict[int, set[str]] = {}
    for line in _read_text(_MOUNTS).splitlines():
        before, _, after = line.partition(" - ")
        major, _, minor = before.split(" ")[2].partition(":")
        kinds.setdefault(os.makedev(int(major), int(minor)), set()).add(after.split(" ")[0])
    return frozenset(device for device, found in kinds.items() if found <= FILE_SYSTEMS)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""

"""The hashes of a log's tree in files, so that neither roots nor proofs need the entries again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recert.store.transparency.merkle import HASH_BYTES, hashes_with, leaf_hash, stored_count, stored_place

OFFSETS: Final = "offsets"
HASHES: Final = "hashes"
_OFFSET_BYTES: Final = 8


class TreeFiles:
    """
    Where each entry ends, and the hash of every whole subtree: made from the entries, and made again where missing.

    Whoever only reads, and finds none that are good, gets their own, which have no name.

    Args:
        folder: of the log.
        entries: the open file of its entries.
        write: make them where they are missing.

    Raises:
        OSError: they cannot be opened.
    """

    def __init__(self, folder: Path, entries: int, *, write: bool) -> None:
        self.size = 0
        """Entries that are in them."""
        self.end = 0
        """Bytes of the entries that are in them."""
        self._opened: list[int] = []
        names = (folder / OFFSETS, folder / HASHES)
        if write:
            self._take([os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644) for name in names])
        elif all(name.exists() for name in names):
            self._take([os.open(name, os.O_RDONLY | os.O_CLOEXEC) for name in names])
        if self._opened:
            self._read_ends(entries)
        if not write and self.end < os.fstat(entries).st_size:
            self.close()
            self._take([_unnamed(), _unnamed()])
            self.size = self.end = 0

    def _take(self, files: list[int]) -> None:
        self._opened = files
        self._offsets, self._hashes = files

    def _read_ends(self, entries: int) -> None:
        """Take up what both files know; nothing, where they do not fit the last entry that they speak of."""
        size = os.fstat(self._offsets).st_size // _OFFSET_BYTES
        if not size or os.fstat(self._hashes).st_size < stored_count(size) * HASH_BYTES:
            return
        begin, end = self.bounds(size - 1)
        cut = end > os.fstat(entries).st_size  # whoever opens the log will say so
        line = os.pread(entries, max(0, end - begin), begin)
        if cut or (line.endswith(b"\n") and leaf_hash(line[:-1]) == self.whole(0, size - 1)):
            self.size, self.end = size, end

    def bounds(self, index: int) -> tuple[int, int]:
        """Return where the line of an entry begins and ends, its end of line included."""
        first = max(0, index - 1)
        data = os.pread(self._offsets, _OFFSET_BYTES * (index + 1 - first), first * _OFFSET_BYTES)
        begin = int.from_bytes(data[:_OFFSET_BYTES], "big") if index else 0
        return begin, int.from_bytes(data[-_OFFSET_BYTES:], "big")

    def whole(self, level: int, index: int) -> bytes:
        """Return the hash of a whole subtree."""
        return os.pread(self._hashes, HASH_BYTES, stored_place(level, index) * HASH_BYTES)

    def add(self, leaves: Sequence[bytes]) -> None:
        """
        Add entries that are in their file: hashes first and then ends, so that nothing is counted too early.

        Raises:
            OSError: the disk is full or fails; nothing was added.
        """
        kept = stored_count(self.size)
        made: list[bytes] = []

        def whole(level: int, index: int) -> bytes:
            place = stored_place(level, index)
            return made[place - kept] if place >= kept else self.whole(level, index)

        ends, end = [], self.end
        for at, leaf in enumerate(leaves, start=self.size):
            made += hashes_with(leaf, at, whole)
            end += len(leaf) + 1
            ends.append(end.to_bytes(_OFFSET_BYTES, "big"))
        try:
            _put(self._hashes, b"".join(made), kept * HASH_BYTES)
            _put(self._offsets, b"".join(ends), self.size * _OFFSET_BYTES)
        except OSError:
            os.ftruncate(self._offsets, self.size * _OFFSET_BYTES)
            raise
        self.size, self.end = self.size + len(leaves), end

    def close(self) -> None:
        """Close the files."""
        while self._opened:
            os.close(self._opened.pop())


def _unnamed() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _put(file: int, data: bytes, at: int) -> None:
    """Write at a place and end the file there: what was beyond belonged to lines that are none."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], at + written)
    os.ftruncate(file, at + len(data))

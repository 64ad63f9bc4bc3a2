"""
A transparency log in a folder: one line an entry, and beside them what is only there to be quick.

```
log.json        the log's name (its origin)
entries.jsonl   the log: one leaf a line, only ever appended to
offsets         where each line ends                } made again from the entries where they are missing
hashes          the hash of every whole subtree     }
checkpoint      the newest signed checkpoint
checkpoints     every checkpoint that was signed, one a line
```

Here too: the hashes of a log's tree in files, so that neither roots nor proofs need the entries again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from recert.digest import canonical_json
from recert.errors import InputError, RecordError, StoreError
from recert.records.record import parse_json
from recert.records.signed.transparency import LogEntry
from recert.store.files.writing import append_line, read_bytes, write_atomic
from recert.store.transparency.merkle import (
    HASH_BYTES,
    consistency_path,
    hashes_with,
    inclusion_path,
    leaf_hash,
    root,
    stored_count,
    stored_place,
)

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


ENTRIES: Final = "entries.jsonl"
CHECKPOINT: Final = "checkpoint"
_ABOUT: Final = "log.json"
_HISTORY: Final = "checkpoints"
_LOCK_WAIT_S: Final = 30.0
_LONGEST_ENTRY_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 1 << 20
_Made = TypeVar("_Made")


def create_log(folder: Path, origin: str) -> None:
    """
    Make an empty log in a new or empty folder.

    Args:
        folder: where it lies.
        origin: its name, unlike that of any other log; a URL without its scheme is usual, `example.com/models`.

    Raises:
        InputError: the folder holds something, or the name cannot be one.
        StoreError: it cannot be written.
    """
    if not origin or "+" in origin or not origin.isprintable() or any(c.isspace() for c in origin):
        raise InputError(
            "a log's name has neither spaces nor a plus",
            facts={"given": repr(origin)},
            hint="such as example.com/models",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("there is something already", facts={"folder": folder}, hint="give a new folder")
    write_atomic(folder / ENTRIES, b"")
    write_atomic(folder / _ABOUT, canonical_json({"origin": origin, "schema_version": 1}) + b"\n")


class LogFolder:
    """
    A transparency log, open to be read, or by one writer at a time to be appended to.

    Args:
        folder: made by `create_log`, or a copy of its files.
        write: hold the lock, waiting for another writer; a line that a crash cut is removed then.

    Raises:
        StoreError: it cannot be opened, or another process has written it for half a minute.
        RecordError: there is no log, or a line is none; or it is shorter than what was written.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self.origin = _origin(folder)
        self.torn = b""
        """What a crash had left of a last line, and was removed."""
        self._write = write
        try:
            flags = os.O_RDWR | os.O_APPEND if write else os.O_RDONLY
            self._entries = os.open(folder / ENTRIES, flags | os.O_CLOEXEC)
        except OSError as exc:
            raise self._failed("open", exc) from exc
        try:
            if write:
                _lock(self._entries, folder)
            self._tree = TreeFiles(folder, self._entries, write=write)
        except OSError as exc:
            os.close(self._entries)
            raise self._failed("open", exc) from exc
        except BaseException:
            os.close(self._entries)
            raise
        try:
            self._take_up()
        except OSError as exc:
            self.close()
            raise self._failed("open", exc) from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files, and let go of the lock."""
        if self._entries >= 0:
            self._tree.close()
            os.close(self._entries)
            self._entries = -1

    @property
    def size(self) -> int:
        """Entries of the log."""
        return self._tree.size

    def append(self, entries: Sequence[LogEntry]) -> range:
        """
        Write entries to disk, all or none, and return their numbers.

        Raises:
            StoreError: the disk is full or fails; the log is as it was before.
            InputError: an entry is longer than a line may be.
        """
        leaves = [entry.to_json() for entry in entries]
        if any(len(leaf) >= _LONGEST_ENTRY_BYTES for leaf in leaves):
            raise InputError("entry is too long for a log", facts={"bytes at most": _LONGEST_ENTRY_BYTES})
        first, before = self.size, self._tree.end
        try:
            try:
                _write_all(self._entries, b"".join(leaf + b"\n" for leaf in leaves))
                os.fsync(self._entries)
                self._tree.add(leaves)
            except BaseException:
                os.ftruncate(self._entries, before)
                raise
        except OSError as exc:
            raise self._failed("write", exc) from exc
        return range(first, self.size)

    def leaf(self, index: int) -> bytes:
        """
        Return a line without its end, as it was hashed.

        Raises:
            RecordError: there is no such line, or it is not the one that was hashed.
            StoreError: it cannot be read.
        """
        if not 0 <= index < self.size:
            raise RecordError("log has no such entry", facts={"entry": index, "entries": self.size})
        try:
            begin, end = self._tree.bounds(index)
            line = os.pread(self._entries, max(0, end - begin), begin)
            hashed = self._tree.whole(0, index)
        except OSError as exc:
            raise self._failed("read", exc) from exc
        if not line.endswith(b"\n") or leaf_hash(line[:-1]) != hashed:
            raise self._changed(index)
        return line[:-1]

    def leaves(self) -> Iterator[bytes]:
        """
        Yield every line, from the first, without its end. Compares nothing with the hashes.

        Raises:
            StoreError: the log cannot be read.
        """
        place, rest = 0, b""
        while place < self._tree.end:
            try:
                piece = os.pread(self._entries, min(_PIECE_BYTES, self._tree.end - place), place)
            except OSError as exc:
                raise self._failed("read", exc) from exc
            if not piece:
                raise self._changed(self.size)
            place += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines

    def find(self, sha256: str) -> int | None:
        """
        Return the number of the newest entry of an envelope, or None.

        Raises:
            StoreError: the log cannot be read.
            RecordError: a line is none.
        """
        wanted, found = sha256.encode(), None
        for index, line in enumerate(self.leaves()):
            if wanted in line and read_entry(line, self.folder, index).sha256 == sha256:
                found = index
        return found

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries, by default all. Raises as `inclusion`."""
        upto = self._upto(size)
        return self._asked(lambda: root(upto, self._tree.whole))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """
        Return the inclusion proof of an entry in the first `size`.

        Raises:
            RecordError: there are not so many.
            StoreError: the hashes cannot be read.
        """
        upto = self._upto(size, least=index + 1)
        return self._asked(lambda: inclusion_path(index, upto, self._tree.whole))

    def consistency(self, old_size: int, size: int | None = None) -> list[bytes]:
        """Return what shows that the first `old_size` entries begin the first `size`. Raises as `inclusion`."""
        upto = self._upto(size, least=old_size)
        return self._asked(lambda: consistency_path(old_size, upto, self._tree.whole))

    def require_as_hashed(self) -> None:
        """
        Return when every line is what was hashed when it was written. Reads and hashes all of it.

        Raises:
            RecordError: a line was changed.
            StoreError: the log cannot be read.
        """
        made: list[bytes] = []

        def whole(level: int, index: int) -> bytes:
            return made[stored_place(level, index)]

        count = 0
        for count, leaf in enumerate(self.leaves(), start=1):
            made += hashes_with(leaf, count - 1, whole)
        if count != self.size or root(count, whole) != self.root():
            few = min(count, self.size)
            raise self._changed(next((i for i in range(few) if whole(0, i) != self._tree.whole(0, i)), few))

    def checkpoint(self) -> bytes | None:
        """
        Return the newest signed checkpoint, or None where none was signed yet.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.folder / CHECKPOINT
        return read_bytes(path, "checkpoint of the log") if path.exists() else None

    def keep_checkpoint(self, size: int, root_hash: bytes, note: bytes) -> None:
        """
        Put a checkpoint in the place of the one before, and note it with those that were signed.

        Raises:
            StoreError: it cannot be written.
        """
        line = canonical_json({"note": note.decode(), "root_sha256": root_hash.hex(), "size": size})
        try:
            append_line(self.folder / _HISTORY, line + b"\n")
        except OSError as exc:
            raise self._failed("write", exc) from exc
        write_atomic(self.folder / CHECKPOINT, note)

    def signed_sizes(self) -> list[int]:
        """
        Return how many entries there were at each checkpoint that was signed, oldest first. Proves nothing.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.folder / _HISTORY
        sizes: list[int] = []
        for line in read_bytes(path, "checkpoints of the log").split(b"\n") if path.exists() else []:
            try:
                size = parse_json(line)["size"]
            except (RecordError, LookupError, TypeError):
                continue  # cut by a crash: it says nothing
            if isinstance(size, int) and 0 < size <= self.size and size not in sizes[-1:]:
                sizes.append(size)
        return sizes

    def _take_up(self) -> None:
        """Index whole lines that are not yet, and remove a torn one."""
        length = os.fstat(self._entries).st_size
        done = self._tree.end
        if done > length:
            raise RecordError(
                "log is shorter than what was written",
                facts={"log": self.folder, "bytes": length, "written": done},
                hint="its end was cut off; get a whole copy",
            )
        rest = b""
        while done < length:
            piece = os.pread(self._entries, min(_PIECE_BYTES, length - done), done)
            if not piece:
                raise OSError(errno.EIO, "the log became shorter while it was read")
            done += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for place, line in enumerate(lines, start=self.size):
                read_entry(line, self.folder, place)
            self._tree.add(lines)
        if rest and self._write:
            os.ftruncate(self._entries, length - len(rest))
            self.torn = rest

    def _upto(self, size: int | None, least: int = 0) -> int:
        upto = self.size if size is None else size
        if not 0 <= least <= upto <= self.size:
            raise RecordError(
                "log has not so many entries", facts={"asked": max(upto, least), "entries": self.size}
            )
        return upto

    def _asked(self, make: Callable[[], _Made]) -> _Made:
        try:
            return make()
        except OSError as exc:
            raise self._failed("read", exc) from exc

    def _changed(self, index: int) -> RecordError:
        return RecordError(
            "log is not what was written",
            facts={"log": self.folder, "entry": index},
            hint="an entry was changed: get a whole copy; the files `offsets` and `hashes` may be removed, and are "
            "made again",
        )

    def _failed(self, doing: str, exc: OSError) -> StoreError:
        return StoreError(
            f"cannot {doing} the transparency log", facts={"log": self.folder, "because": exc.strerror}
        )


def read_entry(line: bytes, log: object, index: int) -> LogEntry:
    """
    Return what a line of a log says.

    Raises:
        RecordError: it is no entry, or not in canonical JSON.
    """
    try:
        entry = LogEntry.from_json(line)
        if entry.to_json() != line:
            raise RecordError("not in canonical JSON")
    except RecordError as exc:
        raise RecordError(
            "log has a line that is none", facts={"log": log, "entry": index, "because": exc.message}
        ) from exc
    return entry


def _origin(folder: Path) -> str:
    path = folder / _ABOUT
    if not path.exists():
        raise RecordError("there is no transparency log", facts={"folder": folder}, hint="recert log init")
    match parse_json(read_bytes(path, "name of the log")):
        case {"origin": str(origin), "schema_version": 1} if origin:
            return origin
    raise RecordError("the log's name cannot be read", facts={"file": path})


def _lock(file: int, folder: Path) -> None:
    until = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() > until:
                raise StoreError(
                    "another process writes this transparency log",
                    facts={"log": folder, "because": exc.strerror},
                ) from exc
        time.sleep(0.02)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

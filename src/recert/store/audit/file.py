"""An audit log in files: the one that is written, and the full ones before it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from recert.errors import RecordError, StoreError
from recert.records.record import parse_json
from recert.store.audit.chain import GENESIS, read_line, walk
from recert.store.files.writing import read_bytes, write_atomic

_CHECKPOINT_BYTES: Final = 128
"""It is written over in one piece, so that it is never half there: it always has this size."""
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
_SEGMENT: Final = re.compile(r"\.\d{12}$")


def checkpoint_path(path: Path) -> Path:
    """Return where the unsigned checkpoint of a log lies: number and digest of its last line."""
    return path.with_name(path.name + ".checkpoint")


def segments(path: Path) -> list[Path]:
    """
    Return the files of a log in order; the one that is written is the last.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        full = sorted(p for p in path.parent.iterdir() if p.name.startswith(path.name) and _SEGMENT.fullmatch(
            p.name[len(path.name) :]
        ))  # fmt: skip
        if full and path.exists() and path.samefile(full[-1]):
            full.pop()  # a crash came between the two names
    except OSError as exc:
        raise StoreError("cannot read the audit log", facts={"log": path, "because": exc.strerror}) from exc
    return [*full, path]


def raw_lines(path: Path) -> Iterator[bytes]:
    """
    Yield every line of a log as it is, over all of its files. A log that is being written may be read.

    Raises:
        StoreError: a file cannot be read.
        RecordError: a line has no end for 16 MiB.
    """
    listed: list[Path] = []
    with contextlib.ExitStack() as opened:
        while listed != (listed := segments(path)):  # until none was rotated meanwhile
            opened.close()
            try:
                files = [opened.enter_context(part.open("rb")) for part in listed]
            except OSError as exc:
                raise StoreError(
                    "cannot read audit log", facts={"file": path, "because": exc.strerror}
                ) from exc
        for part, file in zip(listed, files, strict=True):
            try:
                while raw := file.readline(_LONGEST_LINE_BYTES):
                    if len(raw) == _LONGEST_LINE_BYTES:
                        raise RecordError("audit log has a line that is none", facts={"log": part})
                    yield raw
            except OSError as exc:
                raise StoreError(
                    "cannot read audit log", facts={"file": part, "because": exc.strerror}
                ) from exc


def read_checkpoint(path: Path) -> tuple[int, str]:
    """
    Return the number and the digest that the unsigned checkpoint of a log gives.

    Raises:
        StoreError: it cannot be read.
        RecordError: it is damaged.
    """
    try:
        value = parse_json(read_bytes(checkpoint_path(path), "checkpoint of the audit log"))
        seq, digest = value["seq"], value["sha256"]
        if type(seq) is not int or seq < 0 or not isinstance(digest, str):
            raise TypeError
    except (RecordError, KeyError, TypeError, ValueError) as exc:
        raise RecordError("checkpoint of the audit log is damaged", facts={"log": path}) from exc
    return seq, digest


def require_met(log: object, checkpoint: tuple[int, str], last: int, digest_at: str | None) -> None:
    """
    Return when a log of `last` lines meets a checkpoint; `digest_at` is the digest of the line it names.

    Raises:
        RecordError: it does not.
    """
    seq, digest = checkpoint
    if seq > last:
        raise RecordError(
            "audit log is shorter than its checkpoint",
            facts={"log": log, "lines": last, "checkpoint": seq},
            hint="the end was cut off",
        )
    if digest != (digest_at if seq else GENESIS):
        raise RecordError("audit log and checkpoint differ", facts={"log": log, "line": seq})


def require_signed(log: object, signed: Mapping[int, str], seq: int, digest: str) -> None:
    """
    Return when a line is what a signed checkpoint says of it, if one does.

    Raises:
        RecordError: it is not.
    """
    if signed.get(seq, digest) != digest:
        raise RecordError(
            "audit log and signed checkpoint differ",
            facts={"log": log, "line": seq, "signed": signed[seq], "there": digest},
            hint="a line at or before this one was changed, or the log was replaced",
        )


def require_long_enough(log: object, signed: Mapping[int, str], last: int) -> None:
    """
    Return when a log reaches the newest signed checkpoint.

    Raises:
        RecordError: it does not.
    """
    newest = max(signed, default=0)
    if newest > last:
        raise RecordError(
            "audit log is shorter than a signed checkpoint",
            facts={"log": log, "lines": last, "checkpoint": newest},
            hint="the end was cut off, or the log was replaced",
        )


class LogFile:
    """
    The files of one log, open for one writer.

    Args:
        path: the file that is written.
        rotate_bytes: a file that has reached this size is put aside, and the chain goes on in a new one.
        signed: digests of lines by their numbers, from signed checkpoints.

    Raises:
        StoreError: the log cannot be opened, or another process writes it.
        RecordError: the existing log is not what was written.
    """

    def __init__(
        self, path: Path, rotate_bytes: int | None = None, signed: Mapping[int, str] | None = None
    ) -> None:
        self.path = path
        self._rotate_bytes = self._rotate_at = rotate_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(path, os.O_CREAT)
        except BlockingIOError as exc:
            raise StoreError(
                "another process writes this audit log", facts={"log": path}, hint="give each gateway its own"
            ) from exc
        except OSError as exc:
            raise self._failed("open", exc) from exc
        try:
            self.torn = self._take_up(signed or {})
            self._checkpoint = self._open_checkpoint()
        except OSError as exc:
            os.close(self._file)
            raise self._failed("open", exc) from exc
        except BaseException:
            os.close(self._file)
            raise

    def _take_up(self, signed: Mapping[int, str]) -> bytes:
        """Check the file that is written and its seam with the one before; return what a crash cut."""
        full = segments(self.path)[:-1]
        seq, head = _last_line(full[-1]) if full else (0, GENESIS)
        data = read_bytes(self.path, "audit log")
        whole = data[: data.rfind(b"\n") + 1]
        wanted = (0, GENESIS)
        if seq or whole or checkpoint_path(self.path).exists():
            wanted = read_checkpoint(self.path)
        met = head if wanted[0] == seq else None
        self._begins = seq + 1
        require_signed(self.path, signed, seq, head)
        for line in walk(io.BytesIO(whole), self.path, seq=seq, prev=head):
            seq, head = line.seq, line.sha256
            met = head if wanted[0] == seq else met
            require_signed(self.path, signed, seq, head)
        require_met(self.path, wanted, seq, met)
        require_long_enough(self.path, signed, seq)
        if len(whole) < len(data):
            os.ftruncate(self._file, len(whole))
        self.seq, self.head, self._size, self._whole = seq, head, len(whole), True
        return data[len(whole) :]

    def _open_checkpoint(self) -> int:
        target = checkpoint_path(self.path)
        try:
            write_atomic(target, _checkpoint(self.seq, self.head), mode=0o600)
        except StoreError as exc:
            raise StoreError(
                "cannot open the audit log", facts={"log": self.path, **exc.facts}, hint=exc.hint
            ) from exc
        return os.open(target, os.O_WRONLY | os.O_CLOEXEC)

    def ready(self) -> None:
        """
        Return when the next line can go on from `seq` and `head`.

        Raises:
            StoreError: an earlier line is half-written and cannot be taken back.
        """
        if not self._whole:
            self._take_back()
        if not self._whole:
            raise self._failed("write", OSError(errno.EIO, "an earlier line is half-written"))

    def append(self, lines: Sequence[bytes], seq: int, head: str) -> None:
        """
        Write lines to disk, all or none; the last has number `seq` and digest `head`.

        Raises:
            StoreError: the disk is full or fails; the log is as it was before.
        """
        data = b"".join(lines)
        try:
            _write_all(self._file, data)
            os.fsync(self._file)
            os.pwrite(self._checkpoint, _checkpoint(seq, head), 0)
        except OSError as exc:
            self._take_back()
            raise self._failed("write", exc) from exc
        self.seq, self.head, self._size = seq, head, self._size + len(data)

    def full(self) -> bool:
        """Say whether the file is to be put aside now."""
        return self._rotate_at is not None and self._size >= self._rotate_at and self.seq >= self._begins

    def rotate(self) -> None:
        """
        Put the file aside under the number of its first line, and go on in a new one.

        Raises:
            StoreError: that did not work; the log goes on in the file that it has.
        """
        fresh = self.path.with_name(self.path.name + ".new")
        aside = self.path.with_name(f"{self.path.name}.{self._begins:012d}")
        try:
            os.fsync(self._checkpoint)
            fresh.unlink(missing_ok=True)
            file = _open_locked(fresh, os.O_CREAT | os.O_EXCL)
            try:
                if aside.exists() and aside.samefile(self.path):
                    aside.unlink()  # left by a crash between the two names
                aside.hardlink_to(self.path)
                fresh.replace(self.path)
            except BaseException:
                os.close(file)
                raise
            _sync_folder(self.path.parent)
        except OSError as exc:
            self._rotate_at = self._size + (self._rotate_bytes or 0)  # not again at once
            raise self._failed("rotate", exc) from exc
        os.close(self._file)
        self._file, self._size, self._begins, self._rotate_at = file, 0, self.seq + 1, self._rotate_bytes

    def close(self) -> None:
        """Close the files."""
        os.close(self._file)
        os.close(self._checkpoint)

    def _take_back(self) -> None:
        """Cut off what a failed write left, if that works."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._whole = False
        else:
            self._whole = True

    def _failed(self, doing: str, exc: OSError) -> StoreError:
        return StoreError(
            f"cannot {doing} the audit log",
            facts={"log": self.path, "because": exc.strerror},
            hint="no request is answered without its line; free some space" if doing == "write" else "",
        )


def _open_locked(path: Path, flags: int) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file), path.stat()):
            raise BlockingIOError(errno.EAGAIN, "it was put aside meanwhile")
    except BaseException:
        os.close(file)
        raise
    return file


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checkpoint(seq: int, head: str) -> bytes:
    return orjson.dumps({"seq": seq, "sha256": head}).ljust(_CHECKPOINT_BYTES - 1) + b"\n"


def _last_line(path: Path) -> tuple[int, str]:
    """Return number and digest of the last line of a full file, without reading all of it."""
    data, size_bytes = b"", path.stat().st_size
    with path.open("rb") as file:
        while data.count(b"\n") < 2 and len(data) < size_bytes:
            file.seek(max(0, size_bytes - 2 * len(data) - 4096))
            data = file.read()
    raw = data[:-1].rpartition(b"\n")[2]
    if not data.endswith(b"\n") or not raw:
        raise RecordError("audit log ends within a line", facts={"log": path}, hint="the end was cut off")
    line = read_line(raw, path, 0)
    return line.seq, line.sha256


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

"""The audit log: append-only JSON lines, each naming the sha256 of the one before (`spec/audit-log.md`)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from recert.digest import sha256_bytes
from recert.errors import RecordError, StoreError
from recert.records import Record, now, parse_json
from recert.store.files import read_bytes

GENESIS: Final = "0" * 64
"""What the first line names as its predecessor."""
_BATCH: Final = 256


@dataclass(frozen=True)
class AuditLine:
    """One line: its number (from 1), the digest of the line before, what it holds, and its own digest."""

    seq: int
    prev: str
    kind: str
    body: dict[str, Any]
    sha256: str


def checkpoint_path(path: Path) -> Path:
    """Return where the checkpoint of a log lies: number and digest of its last line."""
    return path.with_name(path.name + ".checkpoint")


def read_log(path: Path) -> list[AuditLine]:
    """
    Return every line of a log, after checking the chain and the checkpoint.

    Raises:
        StoreError: the log or its checkpoint cannot be read.
        RecordError: a line was changed, moved, put in or taken out, or the end is missing.
    """
    lines = _chain(path, read_bytes(path, "audit log"))
    _meets_checkpoint(path, lines)
    return lines


def verify_log(path: Path) -> int:
    """
    Check a whole log; return its number of lines.

    Raises:
        StoreError: the log or its checkpoint cannot be read.
        RecordError: a line was changed, moved, put in or taken out, or the end is missing.
    """
    return len(read_log(path))


def _chain(path: Path, data: bytes) -> list[AuditLine]:
    if data and not data.endswith(b"\n"):
        raise RecordError("audit log ends within a line", facts={"log": path}, hint="the end was cut off")
    lines: list[AuditLine] = []
    prev = GENESIS
    for number, raw in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            value = parse_json(raw)
            line = AuditLine(value["seq"], value["prev"], value["kind"], value["body"], sha256_bytes(raw))
        except (RecordError, KeyError, TypeError) as exc:
            raise RecordError(
                "audit log has a line that is none", facts={"log": path, "line": number}
            ) from exc
        if line.seq != number or line.prev != prev:
            raise RecordError(
                "audit log is not what was written: the chain breaks",
                facts={
                    "log": path,
                    "line": number,
                    "number in the line": line.seq,
                    "line before, by the chain": line.prev,
                    "line before, as it is": prev,
                },
                hint="a line at or before this one was changed, moved, put in or taken out",
            )
        prev = line.sha256
        lines.append(line)
    return lines


def _meets_checkpoint(path: Path, lines: list[AuditLine]) -> None:
    try:
        value = parse_json(read_bytes(checkpoint_path(path), "checkpoint of the audit log"))
        seq, digest = int(value["seq"]), str(value["sha256"])
    except (RecordError, KeyError, TypeError, ValueError) as exc:
        raise RecordError("checkpoint of the audit log is damaged", facts={"log": path}) from exc
    if seq > len(lines):
        raise RecordError(
            "audit log is shorter than its checkpoint",
            facts={"log": path, "lines": len(lines), "checkpoint": seq},
            hint="the end was cut off",
        )
    if digest != (lines[seq - 1].sha256 if seq else GENESIS):
        raise RecordError("audit log and checkpoint differ", facts={"log": path, "line": seq})


class AuditLog:
    """
    Appends records to a log. A line is on disk before its future resolves; lines that come together share
    a sync.

    One process writes a log at a time. An existing log is checked before it goes on. A line that was cut by
    a crash was never acknowledged: it is taken off, and a line of kind `recovered` says so.

    Raises:
        StoreError: the log cannot be opened, or another process writes it.
        RecordError: the existing log is not what was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(
                "cannot open the audit log", facts={"log": path, "because": exc.strerror}
            ) from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            torn = self._take_up()
        except BlockingIOError as exc:
            os.close(self._file)
            raise StoreError(
                "another process writes this audit log", facts={"log": path}, hint="give each gateway its own"
            ) from exc
        except OSError as exc:
            os.close(self._file)
            raise StoreError(
                "cannot open the audit log", facts={"log": path, "because": exc.strerror}
            ) from exc
        except BaseException:
            os.close(self._file)
            raise
        self._queue: queue.SimpleQueue[tuple[str, bytes, Future[int]] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write_loop, name="audit-log", daemon=True)
        self._writer.start()
        if torn:
            self._submit("recovered", orjson.dumps({"dropped_sha256": sha256_bytes(torn)})).result()

    def _take_up(self) -> bytes:
        data = read_bytes(self.path, "audit log")
        whole = data[: data.rfind(b"\n") + 1]
        lines = _chain(self.path, whole)
        if lines or checkpoint_path(self.path).exists():
            _meets_checkpoint(self.path, lines)
        if len(whole) < len(data):
            os.ftruncate(self._file, len(whole))
        self._seq = len(lines)
        self._head = lines[-1].sha256 if lines else GENESIS
        self._size = len(whole)
        self._whole = True
        if not lines:
            self._write_checkpoint()
        return data[len(whole) :]

    def submit(self, record: Record) -> Future[int]:
        """Queue a record; the future gives its line number once it is on disk, or raises StoreError."""
        return self._submit(record.schema_name, orjson.dumps(record.to_value()))

    def append(self, record: Record) -> int:
        """
        Write a record; return its line number once it is on disk.

        Raises:
            StoreError: the disk is full or fails; the log is as it was before.
        """
        return self.submit(record).result()

    def _submit(self, kind: str, body: bytes) -> Future[int]:
        future: Future[int] = Future()
        with self._closing:
            if self._closed:
                future.set_exception(StoreError("the audit log is closed", facts={"log": self.path}))
            else:
                self._queue.put((kind, body, future))
        return future

    def close(self) -> None:
        """Write what is queued and close the file."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        os.close(self._file)

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_loop(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            going = None not in batch
            self._write_batch([item for item in batch if item is not None])

    def _write_batch(self, batch: list[tuple[str, bytes, Future[int]]]) -> None:
        if not batch:
            return
        seq, head, at = self._seq, self._head, orjson.dumps(now().isoformat())
        out = []
        for kind, body, _ in batch:
            seq += 1
            raw = b'{"seq":%d,"prev":"%s","kind":"%s","at":%s,"body":%s}' % (
                seq, head.encode(), kind.encode(), at, body
            )  # fmt: skip
            head = sha256_bytes(raw)
            out.append(raw + b"\n")
        data = b"".join(out)
        before = (self._seq, self._head, self._size)
        try:
            if not (self._whole or self._take_back()):
                raise OSError(errno.EIO, "an earlier line is half-written")
            self._whole = True
            _write_all(self._file, data)
            os.fsync(self._file)
            self._seq, self._head, self._size = seq, head, self._size + len(data)
            self._write_checkpoint()
        except OSError as exc:
            self._seq, self._head, self._size = before
            failed = StoreError(
                "cannot write the audit log",
                facts={"log": self.path, "because": exc.strerror},
                hint="no request is answered without its line; free some space",
            )
            self._whole = self._take_back()
            for _, _, future in batch:
                future.set_exception(failed)
            return
        for number, (_, _, future) in enumerate(batch, start=before[0] + 1):
            future.set_result(number)

    def _take_back(self) -> bool:
        """Cut off what a failed write left; say whether that worked."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            return False
        return True

    def _write_checkpoint(self) -> None:
        target = checkpoint_path(self.path)
        temporary = target.with_name(target.name + ".new")
        temporary.write_bytes(orjson.dumps({"seq": self._seq, "sha256": self._head}) + b"\n")
        temporary.replace(target)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

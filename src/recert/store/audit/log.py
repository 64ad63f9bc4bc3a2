"""The audit log: append-only lines, each naming the sha256 of the one before (`spec/audit-log.md`)."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.records.record import Record, now
from recert.store.audit.chain import GENESIS, AuditLine, next_line
from recert.store.audit.checkpoints import (
    AuditLag,
    CheckpointPlan,
    CheckpointSigner,
    marks_beside,
    signed_path,
)
from recert.store.audit.file import LogFile, checkpoint_path
from recert.store.audit.reading import read_log, verify_log
from recert.store.places import is_url, shown

if TYPE_CHECKING:
    from recert.store.audit.texts import TextStore

__all__ = ["GENESIS", "AuditLine", "AuditLog", "checkpoint_path", "read_log", "verify_log"]

log = logging.getLogger("recert.audit")

_BATCH: Final = 256


class Keeps(Protocol):
    """Where lines are kept: files (`LogFile`), or tables of a database (`LogTable`)."""

    seq: int
    """Number of the last line."""
    head: str
    """Its digest."""
    torn: bytes
    """What a crash left of a line that no reply had waited for."""

    def ready(self) -> None:
        """Return when the next line can go on from `seq` and `head`; else raise StoreError."""

    def append(self, lines: Sequence[bytes], seq: int, head: str) -> None:
        """Keep lines for good, all or none; else raise StoreError."""

    def full(self) -> bool:
        """Say whether `rotate` is due."""

    def rotate(self) -> None:
        """Go on in a new file; else raise StoreError, and nothing has changed."""

    def close(self) -> None:
        """Let go of it."""


class _Item(NamedTuple):
    kind: str
    body: bytes
    texts: Mapping[str, bytes]
    future: Future[int]


class AuditLog:
    """
    Appends records to a log. A line is on disk before its future resolves; lines that come together share
    a sync.

    One process writes a log at a time. An existing log is checked before it goes on. A line that was cut by
    a crash was never acknowledged: it is taken off, and a line of kind `recovered` says so.

    Args:
        where: a file, or the URL of a PostgreSQL database, where each gateway has a chain of its own.
        node: name of this gateway; by default `RECERT_NODE`, or the host's name.
        rotate_bytes: size from which a file is put aside; None for never. No file is ever deleted.
        checkpoints: who signs where the log stands, and where that is kept; None for unsigned ones only.
        keep_texts: also keep requests and replies, apart from the log, where they can be deleted.

    Raises:
        StoreError: the log cannot be opened, or another process writes it.
        RecordError: the existing log is not what was written.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        node: str | None = None,
        rotate_bytes: int | None = None,
        checkpoints: CheckpointPlan | None = None,
        keep_texts: bool = False,
    ) -> None:
        self.path = where
        self.node = node or settings.node()
        in_files = not is_url(where)
        if in_files:
            signed = marks_beside(Path(where), checkpoints.key.public) if checkpoints else {}
            self._keeps: Keeps = LogFile(Path(where), rotate_bytes, signed)
        else:
            self._keeps = _table(str(where), self.node)
        try:
            self._texts = _texts(where) if keep_texts else None
            name = Path(where).name if in_files else "database"
            beside = signed_path(Path(where)) if in_files else None
            self._signer = CheckpointSigner(checkpoints, self.node, name, beside) if checkpoints else None
        except BaseException:
            self._keeps.close()
            raise
        if self._signer:
            self._signer.restart(self._keeps.seq)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write_loop, name="audit-log", daemon=True)
        self._writer.start()
        if self._keeps.torn:
            torn = orjson.dumps({"dropped_sha256": sha256_bytes(self._keeps.torn)})
            self._submit("recovered", torn, {}).result()

    @property
    def keeps_texts(self) -> bool:
        """Whether `submit` keeps the texts that it is given."""
        return self._texts is not None

    @property
    def lag(self) -> AuditLag | None:
        """How far signed checkpoints are behind; None where none are made."""
        return self._signer.lag(self._keeps.seq) if self._signer else None

    def submit(self, record: Record, texts: Mapping[str, bytes] | None = None) -> Future[int]:
        """
        Queue a record; the future gives its line number once it is on disk, or raises StoreError.

        `texts`, by their digests, are kept beside the log where that was asked for, before the line is.
        """
        body = record.model_dump_json(exclude_none=True).encode()
        return self._submit(record.schema_name, body, texts or {})

    def append(self, record: Record, texts: Mapping[str, bytes] | None = None) -> int:
        """
        Write a record; return its line number once it is on disk.

        Raises:
            StoreError: the disk is full or fails; the log is as it was before.
        """
        return self.submit(record, texts).result()

    def _submit(self, kind: str, body: bytes, texts: Mapping[str, bytes]) -> Future[int]:
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # who stops waiting does not take the line back
        with self._closing:
            if self._closed:
                future.set_exception(StoreError("the audit log is closed", facts={"log": self._label}))
            else:
                self._queue.put(_Item(kind, body, texts, future))
        return future

    def close(self) -> None:
        """Write what is queued, sign where the log ends, and close it."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        if self._signer:
            self._signer.look(self._keeps.seq, self._keeps.head, final=True)
            self._signer.close()
        if self._texts:
            self._texts.close()
        self._keeps.close()

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _label(self) -> str:
        return shown(self.path)

    def _write_loop(self) -> None:
        going = True
        while going:
            batch: list[_Item | None] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._queue.get(timeout=self._signer.wait_s() if self._signer else None))
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            going = None not in batch
            items = [item for item in batch if item is not None]
            if items:
                self._write_batch(items)
            self._after_batch()

    def _write_batch(self, batch: Sequence[_Item]) -> None:
        try:
            if self._texts:
                self._texts.keep({digest: text for item in batch for digest, text in item.texts.items()})
            self._keeps.ready()
            before = self._keeps.seq
            lines, seq, head = self._lines(batch)
            self._keeps.append(lines, seq, head)
        except Exception as exc:  # whatever it is, no reply leaves without its line
            failed = exc if isinstance(exc, StoreError) else StoreError(
                "cannot write the audit log", facts={"log": self._label, "because": type(exc).__name__}
            )  # fmt: skip
            for item in batch:
                item.future.set_exception(failed)
            return
        for number, item in enumerate(batch, start=before + 1):
            item.future.set_result(number)

    def _lines(self, batch: Sequence[_Item]) -> tuple[list[bytes], int, str]:
        seq, head, at = self._keeps.seq, self._keeps.head, orjson.dumps(now().isoformat())
        lines = []
        for item in batch:
            raw = next_line(seq, head, item.kind, at, item.body)
            seq, head = seq + 1, sha256_bytes(raw)
            lines.append(raw + b"\n")
        return lines, seq, head

    def _after_batch(self) -> None:
        rotates = self._keeps.full()
        if self._signer:
            self._signer.look(self._keeps.seq, self._keeps.head, force=rotates)
        if rotates:
            try:
                self._keeps.rotate()
            except StoreError as exc:
                log.warning("%s", str(exc).replace("\n", "; "))


def _texts(where: Path | str) -> TextStore:
    from recert.store.audit.texts import TextStore

    return TextStore(where)


def _table(url: str, node: str) -> Keeps:
    from recert.store.audit.table import LogTable

    return LogTable(url, node)

"""
What earlier runs asked and found: one file of chained lines, which only grows.

The chain is the audit log's (`recert.store.audit.chain`), with a checkpoint beside it. Whatever is missing or was
changed is said, and from then on no run renews: a shortened history could only have hidden something.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import orjson

from recert.digest import sha256_bytes
from recert.errors import InputError, RecordError, StoreError
from recert.records.live.watching import HistoryPoint, HistoryStart, WatchedRun
from recert.records.record import Record, now
from recert.records.signed.certificate import Certificate
from recert.store.audit.chain import GENESIS, AuditLine, next_line, walk
from recert.store.audit.file import checkpoint_path, read_checkpoint, require_met
from recert.store.files.writing import append_line, read_bytes, write_atomic

_MODE: Final = 0o600
"""Who reads which prompts were asked knows a little of which may come."""

Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class History:
    """
    The runs of one certificate and its renewals, as they can be read. Made by `begin_history` and `read_history`.

    Args:
        path: the file.
        runs: every run up to the first line that is not what was written.
        end: the last of those lines.
        problem: why the history is not all there, in words; an empty text where it is.
    """

    path: Path
    runs: tuple[WatchedRun, ...]
    end: HistoryPoint | None
    problem: str = ""

    def append(self, run: WatchedRun) -> HistoryPoint:
        """
        Add a run; return where the history then ends. The line is on the disk before the checkpoint names it.

        Raises:
            StoreError: it cannot be written, or the history is not all there: a person has to look first.
        """
        if self.problem or self.end is None:
            raise StoreError("nothing is added to a history that is not all there")
        return _append(self.path, self.end.seq, self.end.sha256, run)


def lineage_of(certificate: Certificate) -> str:
    """Return the serial of the certificate that was renewed first; of one never renewed its own."""
    return certificate.lineage[0] if certificate.lineage else certificate.serial


def begin_history(path: Path, certificate: Certificate) -> History:
    """
    Make the history of a certificate, without any run.

    Raises:
        InputError: there is one already, or what belonged to one.
        StoreError: it cannot be written.
    """
    there = next((one for one in (path, checkpoint_path(path)) if one.exists()), None)
    if there is not None:
        raise InputError(
            "there is a history already",
            facts={"file": there},
            hint="leave --begin-history out; to begin anew, put the old one aside yourself",
        )
    start = HistoryStart(
        lineage=lineage_of(certificate),
        tuned_sha256=certificate.tuned.digest,
        policy_sha256=certificate.policy_sha256,
        begun_at=now(),
    )
    return History(path, (), _append(path, 0, GENESIS, start))


def read_history(path: Path, certificate: Certificate, *, seen: HistoryPoint | None = None) -> History:
    """
    Return a history as far as it is what was written; `problem` says what is wrong with it.

    What a crash left of a line that was never finished is no line: the run that it was of said nothing.

    Args:
        path: its file.
        certificate: whose history it must be, or that of one it renews.
        seen: where an earlier report says that it stood, at least.

    Raises:
        InputError: it is the history of another certificate.
    """
    lines: list[AuditLine] = []
    runs: list[WatchedRun] = []
    problem = ""
    try:
        data = read_bytes(path, "history of watching")
        whole = data[: data.rfind(b"\n") + 1]
        for line in walk(whole.splitlines(keepends=True), path):
            if line.seq == 1:
                _require_own(_body(line, HistoryStart), certificate, path)
            else:
                runs.append(_body(line, WatchedRun))
            lines.append(line)
        _require_all(path, lines, read_checkpoint(path), seen)
    except (RecordError, StoreError) as exc:
        said = exc.message.replace("the audit log", "it").replace(
            "audit log", "it"
        )  # which it is a chain like
        problem = f"the history of watching is not all there: {said}"
    end = HistoryPoint(seq=lines[-1].seq, sha256=lines[-1].sha256) if lines else None
    return History(path, tuple(runs), end, problem)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """
    Keep a history to one watch while the block runs.

    Raises:
        StoreError: another watch has it, or its lock cannot be made.
    """
    name = path.with_name(path.name + ".lock")
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    except OSError as exc:
        raise StoreError("cannot lock the history", facts={"file": name, "because": exc.strerror}) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StoreError(
                "another watch uses this history",
                facts={"history": path},
                hint="one at a time, or one history each",
            ) from exc
        yield
    finally:
        os.close(lock)


def _append(path: Path, seq: int, prev: str, body: Record) -> HistoryPoint:
    at = orjson.dumps(now().isoformat())
    line = next_line(seq, prev, body.schema_name, at, body.to_json())
    end = HistoryPoint(seq=seq + 1, sha256=sha256_bytes(line))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_line(path, line + b"\n")
    except OSError as exc:
        raise StoreError("cannot write the history", facts={"file": path, "because": exc.strerror}) from exc
    write_atomic(checkpoint_path(path), orjson.dumps({"seq": end.seq, "sha256": end.sha256}), mode=_MODE)
    return end


def _body(line: AuditLine, kind: type[Kind]) -> Kind:
    if line.kind != kind.schema_name:
        raise RecordError(f"line {line.seq} is no {kind.schema_name}")
    found = kind.from_json(orjson.dumps(line.body))
    if found.schema_version != 1:
        raise RecordError(f"line {line.seq} is of another version")
    return found


def _require_own(start: HistoryStart, certificate: Certificate, path: Path) -> None:
    given = (lineage_of(certificate), certificate.tuned.digest, certificate.policy_sha256)
    if (start.lineage, start.tuned_sha256, start.policy_sha256) != given:
        raise InputError(
            "this is the history of another certificate",
            facts={"history": path, "of": start.lineage, "certificate": lineage_of(certificate)},
            hint="each certificate has one of its own, which its renewals share",
        )


def _require_all(
    path: Path, lines: list[AuditLine], wanted: tuple[int, str], seen: HistoryPoint | None
) -> None:
    points = {line.seq: line.sha256 for line in lines}
    require_met(path, wanted, len(lines), points.get(wanted[0]))
    if not lines:
        raise RecordError("it is empty")
    if seen is not None and points.get(seen.seq) != seen.sha256:
        raise RecordError("an earlier report names a line that is not there")

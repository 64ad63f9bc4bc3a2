"""Reading an audit log: checked against its chain and against checkpoints, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recert.errors import RecordError
from recert.records.live.audit import AuditCheckpoint
from recert.store.audit.chain import GENESIS, AuditLine, walk
from recert.store.audit.checkpoints import Checks, read_checkpoints, signed_path
from recert.store.audit.file import (
    checkpoint_path,
    raw_lines,
    read_checkpoint,
    require_long_enough,
    require_met,
    require_signed,
)
from recert.store.places import is_url, shown


@dataclass(frozen=True)
class LogCheck:
    """What was found of a log that holds."""

    first: int
    """Number of the first line that is there; 0 for an empty log."""
    last: int
    """Number of the last line."""
    checkpoints: int
    """Signed checkpoints that it was held against."""
    signed: int
    """Lines up to the newest of them; who can write the log could still cut off what comes after."""
    ended: bool
    """Whether the newest one says that the gateway was stopped there on purpose."""

    @property
    def lines(self) -> int:
        """How many lines are there."""
        return self.last - self.first + 1 if self.last else 0

    @property
    def unsigned(self) -> int:
        """How many lines come after the newest signed checkpoint."""
        return self.last - max(self.signed, self.first - 1 if self.last else 0)


def read_log(path: Path) -> list[AuditLine]:
    """
    Return every line of a log, after checking the chain and the unsigned checkpoint.

    Raises:
        StoreError: the log or its checkpoint cannot be read.
        RecordError: a line was changed, moved, put in or taken out, or the end is missing.
    """
    wanted = read_checkpoint(path)
    lines = list(walk(raw_lines(path), path))
    seq = wanted[0]
    require_met(path, wanted, len(lines), lines[seq - 1].sha256 if 0 < seq <= len(lines) else None)
    return lines


def verify_log(path: Path) -> int:
    """
    Check a whole log; return its number of lines.

    Raises:
        StoreError: the log or its checkpoint cannot be read.
        RecordError: a line was changed, moved, put in or taken out, or the end is missing.
    """
    return check_log(path).lines


def check_log(
    where: Path | str, *, keys: Sequence[Checks] = (), copies: Sequence[Path] = (), source: str = ""
) -> LogCheck:
    """
    Check a log against its chain, its unsigned checkpoint, and every signed one that there is.

    With keys at least one signed checkpoint is asked for, from beside the log or from copies kept
    elsewhere; then the unsigned one may be missing, as it is beside a copy. Files of the log that were moved
    away are missed unless a signed checkpoint tells where the chain then begins.

    Args:
        where: the log's file.
        keys: public keys that sign the gateway's checkpoints, earlier ones too.
        copies: files or folders with signed checkpoints.
        source: `NODE/LOG`, where checkpoints of several logs lie together.

    Raises:
        StoreError: something cannot be read.
        RecordError: the log is not what was written, or a checkpoint is not signed by one of the keys.
    """
    rows = _rows(where, source)
    label = shown(where)
    signed = _signed(where, keys, copies, source) if keys else []
    wanted = rows.unsigned(optional=bool(signed))
    marks = {c.seq: c.sha256 for c in signed}
    if len({(c.seq, c.sha256) for c in signed}) > len(marks):
        raise RecordError("two signed checkpoints say different things of one line", facts={"log": label})
    first = last = 0
    met: str | None = GENESIS
    for line in walk(rows.lines, label, prev=None):
        if not first:
            first = line.seq
            _require_start(label, line, marks)
        require_signed(label, marks, line.seq, line.sha256)
        last = line.seq
        if wanted and wanted[0] == last:
            met = line.sha256
    if wanted:
        require_met(label, wanted, last, met)
    require_long_enough(label, marks, last)
    newest = max(signed, key=lambda c: (c.seq, c.final), default=None)
    return LogCheck(
        first, last, len(signed), newest.seq if newest else 0, newest is not None and newest.final
    )


def _require_start(log: object, line: AuditLine, marks: dict[int, str]) -> None:
    """The chain begins at line 1, or where a signed checkpoint says that the part before it ended."""
    if line.prev != (GENESIS if line.seq == 1 else marks.get(line.seq - 1)):
        raise RecordError(
            "the beginning of the audit log is missing",
            facts={"log": log, "first line": line.seq},
            hint="bring back its earlier files, or give the key and the checkpoints that cover them",
        )


@dataclass(frozen=True)
class _Rows:
    """The raw lines of a log, and its unsigned checkpoint."""

    lines: Iterable[bytes]
    path: Path | None = None
    head: tuple[int, str] | None = None

    def unsigned(self, *, optional: bool) -> tuple[int, str] | None:
        if self.path is None or (optional and not checkpoint_path(self.path).exists()):
            return self.head
        return read_checkpoint(self.path)


def _rows(where: Path | str, source: str) -> _Rows:
    if not is_url(where):
        return _Rows(raw_lines(Path(where)), Path(where))
    from recert.store.audit.table import read_table

    head, lines = read_table(str(where), source.partition("/")[0])
    return _Rows(lines, head=head)


def _signed(
    where: Path | str, keys: Sequence[Checks], copies: Sequence[Path], source: str
) -> list[AuditCheckpoint]:
    beside = signed_path(Path(where))
    places = [*([beside] if not is_url(where) and beside.exists() else []), *copies]
    found = [checkpoint for place in places for checkpoint in read_checkpoints(place, keys)]
    name = Path(where).name if not is_url(where) else "database"
    sources = {c.source for c in found}
    if not source and len(sources) > 1:
        sources = {s for s in sources if s.partition("/")[2] == name}
    if source:
        sources &= {source if "/" in source else f"{source}/{name}"}
    if len(sources) != 1:
        raise RecordError(
            "no signed checkpoint of this log" if not sources else "checkpoints are of several logs",
            facts={"log": shown(where), "there are": ", ".join(sorted({c.source for c in found})) or "none"},
            hint="say with --of NODE/LOG which ones count" if found else "give a folder with its checkpoints",
        )
    return [c for c in found if c.source in sources]


def open_log(where: Path | str, source: str = "") -> Iterator[AuditLine]:
    """
    Yield the lines of a log, each checked to go on from the one before; the first that is there may be any.

    Raises:
        StoreError: the log cannot be read.
        RecordError: a line was changed, moved, put in or taken out, or there is no such log.
    """
    return walk(_rows(where, source).lines, shown(where), prev=None)


def select(
    lines: Iterable[AuditLine],
    *,
    decision: str = "",
    client: str = "",
    model: str = "",
    request_id: str = "",
    reason: str = "",
    kind: str = "",
    since: str = "",
    until: str = "",
) -> Iterator[AuditLine]:
    """
    Yield the lines that meet every condition that is given.

    `since` and `until` are times in UTC as lines carry them, RFC 3339; a beginning of one will do.
    """
    asked = {
        "decision": decision,
        "client": client,
        "model_name": model,
        "request_id": request_id,
        "reason": reason,
    }
    wanted = {name: value for name, value in asked.items() if value}
    for line in lines:
        if kind and line.kind != kind:
            continue
        if (since and line.at < since) or (until and line.at[: len(until)] > until):
            continue
        if all(line.body.get(name) == value for name, value in wanted.items()):
            yield line

"""
Finding lines of a large audit log without reading all of it: backwards from a place, and one line by its number.

Work is bounded: a search reads so many bytes and says where to go on, and a line is found by halving.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import orjson

from recert.errors import RecordError, StoreError
from recert.store.audit.chain import AuditLine, read_line
from recert.store.audit.file import segments

_BLOCK: Final = 256 * 1024
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
MOST_BYTES: Final = 8 * 1024 * 1024
"""What a search reads at most before it says where to go on."""


@dataclass(frozen=True)
class Wanted:
    """What lines are searched for; empty texts ask for nothing. Lines of gateways and of the console are met alike."""

    request_id: str = ""
    client: str = ""
    """Of a gateway's line the client, of the console's who acted."""
    serial: str = ""
    """Of the certificate."""
    decision: str = ""
    """Of a gateway's line the decision, of the console's what was done."""
    kind: str = ""
    since: str = ""
    """A time in UTC, RFC 3339, or the beginning of one. Times are taken to grow from line to line."""
    until: str = ""

    def is_met(self, line: AuditLine) -> bool:
        """Say whether a line meets all of it."""
        body = line.body
        facts = body.get("facts")
        acted = facts if isinstance(facts, dict) else {}
        asked = (
            (self.kind, (line.kind,)),
            (self.request_id, (body.get("request_id"),)),
            (self.client, (body.get("client"), body.get("who"))),
            (self.serial, (body.get("certificate_serial"), body.get("serial"), acted.get("serial"))),
            (self.decision, (body.get("decision"), body.get("what"))),
        )
        if any(value and value not in there for value, there in asked):
            return False
        return not (self.since and line.at < self.since) and not self.is_after(line.at)

    def is_after(self, at: str) -> bool:
        """Say whether a time is behind those that are searched."""
        return bool(self.until) and at[: len(self.until)] > self.until

    def parts(self) -> tuple[bytes, ...]:
        """Return what the bytes of a line must hold, so that others need not be parsed."""
        values = (self.request_id, self.client, self.serial, self.decision, self.kind)
        return tuple(orjson.dumps(v) for v in values if v and v.isascii() and '"' not in v and "\\" not in v)


@dataclass(frozen=True)
class Place:
    """Where a search goes on: just before a byte of the file whose first line has this number."""

    first: int
    offset: int

    def text(self) -> str:
        """Return it as text, for an address."""
        return f"{self.first}-{self.offset}"

    @classmethod
    def read(cls, text: str) -> Place | None:
        """Return the place that a text names; None for any other text."""
        first, _, offset = text.partition("-")
        small = len(text) < 40 and first.isdecimal() and offset.isdecimal() and text.isascii()
        return cls(int(first), int(offset)) if small else None


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    lines: tuple[AuditLine, ...]
    """The newest first."""
    looked_at: int
    """How many lines were read for it."""
    newest: str
    """Time of the first of them."""
    oldest: str
    """Time of the last of them."""
    next: Place | None
    """Where to go on; None where the search came to the beginning."""


def search_back(
    path: Path,
    wanted: Wanted,
    *,
    place: Place | None = None,
    most: int = 50,
    most_bytes: int = MOST_BYTES,
) -> Found:
    """
    Return lines that meet what is wanted, from a place backwards; by default from the end.

    The chain is not checked: `recert audit verify` does that, and `prove_line` for one line.

    Args:
        path: the log.
        wanted: which lines.
        place: where an earlier search stopped.
        most: lines that are returned at most.
        most_bytes: bytes that are read at most, and one line.

    Raises:
        StoreError: the log cannot be read.
        RecordError: a line is none.
    """
    parts = wanted.parts()
    found: list[AuditLine] = []
    looked, left, newest, oldest = 0, most_bytes, "", ""
    start = place or _place_until(path, wanted)
    for part in reversed(log_files(path)):
        if start is not None and part.first > start.first:
            continue
        with _opened(part.path) as file:
            end = _size(file)
            if start is not None and part.first == start.first:
                end = min(end, start.offset)
            for offset, raw in _back(file, end):
                looked, left = looked + 1, left - len(raw) - 1
                at = _at(raw)
                newest, oldest = newest or at, at or oldest
                if wanted.since and at and at < wanted.since:
                    return Found(tuple(found), looked, newest, oldest, None)
                if all(piece in raw for piece in parts):
                    line = read_line(raw, path, 0)
                    if wanted.is_met(line):
                        found.append(line)
                if len(found) >= most or left <= 0:
                    here = Place(part.first, offset)
                    begun = offset == 0 and part.first == log_files(path)[0].first
                    return Found(tuple(found), looked, newest, oldest, None if begun else here)
    return Found(tuple(found), looked, newest, oldest, None)


@dataclass(frozen=True)
class LogPart:
    """One file of a log, and the number of its first line."""

    path: Path
    first: int


def log_files(path: Path) -> list[LogPart]:
    """
    Return the files of a log that hold a line, in order.

    Raises:
        StoreError: one cannot be read.
        RecordError: its first line is none.
    """
    out = []
    for part in segments(path):
        with _opened(part) as file:
            raw = file.readline(_LONGEST_LINE_BYTES)
            if raw.endswith(b"\n"):
                out.append(LogPart(part, read_line(raw[:-1], path, 0).seq))
    return out


def lines_from(path: Path, seq: int) -> Iterator[bytes]:
    """
    Yield the raw lines of a log from a number on, each with its end, over all of its files.

    Raises:
        StoreError: it cannot be read.
        RecordError: a line is none.
    """
    parts = log_files(path)
    at = max((n for n, part in enumerate(parts) if part.first <= seq), default=0)
    for number, part in enumerate(parts[at:]):
        with _opened(part.path) as file:
            if number == 0:
                file.seek(halved(file, lambda raw: read_line(raw, path, 0).seq >= seq))
            while (raw := file.readline(_LONGEST_LINE_BYTES)).endswith(b"\n"):
                yield raw


def halved(file: IO[bytes], reached: Callable[[bytes], bool]) -> int:
    """
    Return where the first line begins that has reached what is searched; the end where none has.

    Args:
        file: lines that come in order.
        reached: of a line without its end; once true it stays so.
    """
    low, high = 0, _size(file)
    while low < high:  # every line that begins before `low` has not; low is where a line begins
        middle = (low + high) // 2
        begin = 0
        if middle:
            file.seek(middle - 1)
            begin = middle - 1 + len(file.readline(_LONGEST_LINE_BYTES))
        else:
            file.seek(0)
        raw = file.readline(_LONGEST_LINE_BYTES)
        if not raw.endswith(b"\n") or reached(raw[:-1]):
            high = middle
        else:
            low = begin + len(raw)
    return low


def _place_until(path: Path, wanted: Wanted) -> Place | None:
    """Where the lines end that are not after what is searched."""
    if not wanted.until:
        return None
    for part in reversed(log_files(path)):
        with _opened(part.path) as file:
            offset = halved(file, lambda raw: wanted.is_after(_at(raw)))
            if offset:
                return Place(part.first, offset)
    return Place(0, 0)


def _back(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    """Each whole line before a byte, without its end, the last one first, and where it begins."""
    tail, start, whole = b"", end, False  # what comes before the end may be half a line
    while start > 0:
        size = min(_BLOCK, start)
        start -= size
        file.seek(start)
        data = file.read(size) + tail
        if len(data) > _LONGEST_LINE_BYTES + _BLOCK:
            raise RecordError("audit log has a line that is none", facts={"byte": start})
        if not whole:
            data = data[: data.rfind(b"\n") + 1]
            whole = bool(data)
        begin = data.find(b"\n") + 1 if start else 0
        tail, at, lines = data[:begin], start + begin, []
        for raw in data[begin:].split(b"\n")[:-1]:
            lines.append((at, raw))
            at += len(raw) + 1
        yield from reversed(lines)


def _at(raw: bytes) -> str:
    """The time of a line, as it stands near its beginning."""
    begin = raw.find(b'"at":"', 0, 400)
    if begin < 0:
        return ""
    end = raw.find(b'"', begin + 6)
    return raw[begin + 6 : end].decode("ascii", "replace")


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as exc:
        raise StoreError("cannot read audit log", facts={"file": path, "because": exc.strerror}) from exc

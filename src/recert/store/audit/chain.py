"""The chain of an audit log: raw lines in, checked lines out (`spec/audit-log.md`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from recert.digest import sha256_bytes
from recert.errors import RecordError
from recert.records.record import parse_json

GENESIS: Final = "0" * 64
"""What the first line names as its predecessor."""


@dataclass(frozen=True)
class AuditLine:
    """One line: its number (from 1), the digest of the line before, what it holds, and its own digest."""

    seq: int
    prev: str
    kind: str
    body: dict[str, Any]
    sha256: str
    at: str = ""


def next_line(seq: int, prev: str, kind: str, at: bytes, body: bytes) -> bytes:
    """Return the line that goes on from line `seq` with digest `prev`; `at` and `body` are JSON."""
    return b'{"seq":%d,"prev":"%s","kind":"%s","at":%s,"body":%s}' % (
        seq + 1, prev.encode(), kind.encode(), at, body
    )  # fmt: skip


def read_line(raw: bytes, log: object, number: int) -> AuditLine:
    """
    Return one line, without its end.

    Raises:
        RecordError: it is not JSON, repeats a key, or lacks a field.
    """
    try:
        value = _parse(raw)
        line = AuditLine(
            value["seq"], value["prev"], value["kind"], value["body"], sha256_bytes(raw), value.get("at", "")
        )
        if type(line.seq) is not int or not isinstance(line.body, dict) or not isinstance(line.kind, str):
            raise TypeError
    except (RecordError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError("audit log has a line that is none", facts={"log": log, "line": number}) from exc
    return line


def walk(
    lines: Iterable[bytes], log: object, *, seq: int = 0, prev: str | None = GENESIS
) -> Iterator[AuditLine]:
    """
    Yield every line of a log, after checking that it goes on from the one before.

    Args:
        lines: as they are in the file, each with its end.
        log: what errors call the log.
        seq: number of the line before the first.
        prev: digest of the line before the first; None where it is not known: then the first may be any.

    Raises:
        RecordError: a line was changed, moved, put in or taken out, or the last one is cut.
    """
    for raw in lines:
        if not raw.endswith(b"\n"):
            raise RecordError("audit log ends within a line", facts={"log": log}, hint="the end was cut off")
        line = read_line(raw[:-1], log, seq + 1)
        if prev is None:
            seq, prev = line.seq - 1, line.prev
        if line.seq != seq + 1 or line.prev != prev:
            raise RecordError(
                "audit log is not what was written: the chain breaks",
                facts={
                    "log": log,
                    "line": seq + 1,
                    "number in the line": line.seq,
                    "line before, by the chain": line.prev,
                    "line before, as it is": prev,
                },
                hint="a line at or before this one was changed, moved, put in or taken out",
            )
        seq, prev = line.seq, line.sha256
        yield line


def _parse(raw: bytes) -> Any:
    """Parse strictly. Most lines are as orjson writes them, and then no key can be there twice."""
    try:
        value = orjson.loads(raw)
        if orjson.dumps(value) == raw:
            return value
    except orjson.JSONEncodeError:
        pass
    except orjson.JSONDecodeError as exc:
        raise RecordError("not valid JSON", facts={"because": exc}) from exc
    return parse_json(raw)

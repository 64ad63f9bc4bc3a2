"""A file of decisions on screened rows: appended under a lock, each naming the one before, none ever changed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recert.errors import RecordError, StoreError
from recert.records.reports.row_decision import RowDecision
from recert.store.files.writing import append_line, read_bytes


def read_decisions(path: Path) -> tuple[RowDecision, ...]:
    """
    Return the decisions of a file, oldest first.

    Raises:
        StoreError: it cannot be read.
        RecordError: a line is no decision, or was changed, taken out, moved or put in.
    """
    found: list[RowDecision] = []
    for number, line in enumerate(read_bytes(path, "the decisions").splitlines(), start=1):
        try:
            decision = RowDecision.from_json(line)
        except RecordError as exc:
            raise RecordError("not a decision", facts={"file": path, "line": number, **exc.facts}) from exc
        before = found[-1].digest if found else None
        named = decision.previous_sha256
        if named != before:
            raise RecordError(
                "the decisions are not as they were written",
                facts={
                    "file": path,
                    "line": number,
                    "names": named or "none",
                    "is": before or "none",
                },
                hint="a line before this one was changed, moved or taken out: restore the file",
            )
        found.append(decision)
    return tuple(found)


def append_decision(path: Path, make: Callable[[RowDecision | None], RowDecision]) -> RowDecision:
    """
    Append a decision that `make` returns, given the one before it, or None. Two people never write over each other.

    Raises:
        StoreError: it cannot be written. The file is as it was.
        RecordError: the file is damaged.
    """
    with _locked(path):
        before = read_decisions(path) if path.exists() else ()
        last = before[-1] if before else None
        decision = make(last).model_copy(update={"previous_sha256": last.digest if last else None})
        try:
            append_line(path, decision.to_json() + b"\n")
        except OSError as exc:
            raise StoreError(
                "cannot write the decision", facts={"file": path, "because": exc.strerror}
            ) from exc
    return decision


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError("cannot write the decision", facts={"file": path, "because": exc.strerror}) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)

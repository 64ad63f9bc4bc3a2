"""Turns on their way to the disk: appended batch by batch, synced, and readable after a kill at any byte."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import ValidationError

from recert.errors import RecordError, StoreError
from recert.records.reports.attack import AttackTurn, ConversationEnd


@dataclass
class KeptTurns:
    """What is known of one conversation."""

    turns: list[AttackTurn] = field(default_factory=list)
    end: ConversationEnd | None = None
    because: str = ""


class TurnFile:
    """
    A file of JSON lines that holds every turn as it happened; use it as a context manager.

    A line names its conversation by a key, which is the digest of everything that decides the conversation: lines of
    other runs in the same file are left alone. The last line may be torn; it is cut off before anything is added.
    Only the owner may read the file, and only one run may hold it.

    Args:
        path: the file; made where it is not there.

    Raises:
        StoreError: it cannot be opened or read, or another run holds it.
        RecordError: a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._broke("open", exc) from exc
        try:
            self._lock()
            self._kept = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def kept(self, key: str) -> KeptTurns:
        """Return what is known of a conversation; nothing, where it has not begun."""
        return self._kept.get(key) or KeptTurns()

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """
        Add lines, made by `turn_line` and `end_line`, and wait until they are on the disk.

        Raises:
            StoreError: the disk is full or fails; what was there before stays.
        """
        if not lines:
            return
        data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        try:
            os.lseek(self._file, self._end, os.SEEK_SET)
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as exc:
            os.ftruncate(self._file, self._end)
            raise self._broke("write", exc) from exc
        self._end += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise StoreError(
                "another run writes these conversations",
                facts={"file": self._path},
                hint="wait for it, or give another --output",
            ) from exc

    def _read(self) -> dict[str, KeptTurns]:
        try:
            with open(self._file, "rb", closefd=False) as file:
                data = file.read()
            self._end = data.rfind(b"\n") + 1
            os.ftruncate(self._file, self._end)
        except OSError as exc:
            raise self._broke("read", exc) from exc
        kept: dict[str, KeptTurns] = {}
        for number, line in enumerate(data[: self._end].splitlines(), start=1):
            try:
                self._take(kept, orjson.loads(line))
            except (ValueError, LookupError, TypeError, ValidationError) as exc:
                raise RecordError(
                    "file of turns is damaged",
                    facts={"file": self._path, "line": number, "because": str(exc).split("\n")[0]},
                    hint="move it away: what it holds is asked again",
                ) from exc
        return kept

    @staticmethod
    def _take(kept: dict[str, KeptTurns], line: Mapping[str, Any]) -> None:
        one = kept.setdefault(line["key"], KeptTurns())
        if "end" in line:
            one.end, one.because = ConversationEnd(line["end"]), line["because"]
            return
        turn = AttackTurn.model_validate(line["turn"])
        if turn.index != len(one.turns):
            raise ValueError(f"turn {turn.index} follows {len(one.turns)} turns")
        one.turns.append(turn)

    def _broke(self, doing: str, exc: OSError) -> StoreError:
        return StoreError(
            f"cannot {doing} the file of turns", facts={"file": self._path, "because": exc.strerror}
        )


def turn_line(key: str, turn: AttackTurn) -> dict[str, Any]:
    """Return the line of one turn."""
    return {"key": key, "turn": turn.model_dump(mode="json", exclude_defaults=True) | {"index": turn.index}}


def end_line(key: str, end: ConversationEnd, because: str) -> dict[str, Any]:
    """Return the line that ends a conversation before its turns are spent."""
    return {"key": key, "end": str(end), "because": because}

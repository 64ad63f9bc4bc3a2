"""What a gateway did, minute by minute: counted from its audit log, or from what `/metrics` says between two looks."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

MINUTE_S: Final = 60
_KEPT: Final = 24 * 60
"""Minutes that are kept."""
_AT_ONCE: Final = 4 * 2**20
_FROM_END: Final = 16 * 2**20
"""Of a log that is there already, so much is read from its end on."""
_LONGEST: Final = 16 * 2**20
_MOST_NAMES: Final = 200
"""Controls and categories that are told apart; what comes after is counted as `other`."""
OTHER: Final = "other"

ANSWERED, BLOCKED, REFUSED = "answered", "blocked", "refused"
KINDS: Final = (ANSWERED, BLOCKED, REFUSED)
_KIND_OF: Final = {
    "released": ANSWERED,
    "allowed-input": ANSWERED,
    "allowed-output": ANSWERED,
    "blocked-input": BLOCKED,
    "blocked-output": BLOCKED,
    "refused": REFUSED,
    "failed": REFUSED,
}


class Name(NamedTuple):
    """What is counted: a kind of end (`end`), a control that blocked (`control`) or a category (`category`)."""

    what: str
    called: str
    direction: str = ""
    shadow: bool = False


def end_of(decision: str) -> Name | None:
    """Return what a decision of an exchange counts as; None for `opened`, whose end comes later."""
    return None if decision == "opened" else Name("end", _KIND_OF.get(decision, REFUSED))


@dataclass(frozen=True)
class Window:
    """What was counted in a span of time."""

    spans: tuple[Mapping[str, int], ...]
    """By kind of end, the oldest first."""
    span_s: int
    """Length of each."""
    begins_s: int
    totals: Mapping[Name, int]
    counted_s: float
    """Seconds of the span that were counted at all: less where counting began within it."""

    def of(self, what: str) -> list[tuple[Name, int]]:
        """Return the counts of one kind of name, the most frequent first."""
        return sorted(
            ((name, n) for name, n in self.totals.items() if name.what == what),
            key=lambda pair: (-pair[1], pair[0]),
        )

    def ended(self, kind: str) -> int:
        """Return how many requests ended so."""
        return self.totals.get(Name("end", kind), 0)

    @property
    def requests(self) -> int:
        """How many requests ended."""
        return sum(n for _, n in self.of("end"))

    @property
    def per_minute(self) -> float:
        """Requests a minute."""
        return self.requests * MINUTE_S / self.counted_s if self.counted_s else 0.0


class Minutes:
    """Counts of the last day, minute by minute. Memory does not grow with requests."""

    def __init__(self) -> None:
        self._minutes: dict[int, Counter[Name]] = {}
        self._names: set[Name] = set()
        self._lock = threading.Lock()
        self.since_s: float | None = None
        """From when on everything was counted; None before anything was."""

    def begin(self, at_s: float) -> None:
        """Say from when on everything is counted."""
        if self.since_s is None:
            self.since_s = at_s

    def add(self, at_s: float, name: Name, n: int = 1) -> None:
        """Count something that happened at a time."""
        if len(self._names) >= _MOST_NAMES and name not in self._names:
            name = Name(name.what, OTHER)
        self._names.add(name)
        with self._lock:
            self._minutes.setdefault(int(at_s // MINUTE_S), Counter())[name] += n
            if len(self._minutes) > _KEPT:
                del self._minutes[min(self._minutes)]

    def window(self, now_s: float, *, hours: int) -> Window:
        """Return what was counted in the last hours, in sixty spans at most."""
        minutes = hours * 60
        step = max(1, minutes // 60)
        last = int(now_s // MINUTE_S)
        first = last - minutes + 1
        totals: Counter[Name] = Counter()
        spans: list[Counter[str]] = [Counter() for _ in range(minutes // step)]
        with self._lock:
            for minute, counts in self._minutes.items():
                if first <= minute <= last:
                    totals.update(counts)
                    for name, n in counts.items():
                        if name.what == "end":
                            spans[(minute - first) // step][name.called] += n
        begins = first * MINUTE_S
        since = max(begins, self.since_s) if self.since_s is not None else now_s
        return Window(tuple(spans), step * MINUTE_S, begins, totals, max(0.0, now_s - since))


class LogCounts:
    """
    Follows an audit log as it grows. Its chain is not checked here: `recert audit verify` and the log's page do that.

    Args:
        path: of the log.
        counts: where what it says is counted.
    """

    def __init__(self, path: Path, counts: Minutes) -> None:
        self._path, self._counts = path, counts
        self._file: BufferedReader | None = None
        self._rest = b""
        self.trouble = ""
        """Why it cannot be read now; empty where it can."""
        self.behind = True
        """Whether there is more to read than was read so far."""
        self.serial = self.model = ""
        """Of the last exchange."""

    def look(self) -> None:
        """Read what came since, up to some megabytes."""
        try:
            if self._file is None:
                self._open(from_end=True)
            self._read()
            if not self.behind and self._rotated():
                self._open(from_end=False)
                self._read()
            self.trouble = ""
        except OSError as exc:
            self.trouble = f"its audit log cannot be read: {exc.strerror or type(exc).__name__}"
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, *, from_end: bool) -> None:
        self.close()
        self._file = self._path.open("rb")
        self._rest, self.behind = b"", True
        size = self._path.stat().st_size
        if from_end and size > _FROM_END:
            self._file.seek(size - _FROM_END)
            self._file.readline(_LONGEST)

    def _rotated(self) -> bool:
        assert self._file is not None
        with contextlib.suppress(FileNotFoundError):
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        return False

    def _read(self) -> None:
        assert self._file is not None
        data = self._file.read(_AT_ONCE)
        self.behind = len(data) == _AT_ONCE
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest = b""
        for line in lines:
            self._count(line)

    def _count(self, line: bytes) -> None:
        try:
            value = orjson.loads(line)
            at_s = datetime.fromisoformat(value["at"]).timestamp()
            self._counts.begin(at_s)
            if value["kind"] == "exchange":
                self._exchange(at_s, value["body"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return  # no line of ours; the log's page says so

    def _exchange(self, at_s: float, body: Mapping[str, Any]) -> None:
        self.serial, self.model = str(body["certificate_serial"]), str(body["model_name"])
        end = end_of(str(body["decision"]))
        if end is None:
            return
        self._counts.add(at_s, end)
        for score in body.get("scores") or ():
            shadow = bool(score.get("shadow"))
            if not (score.get("blocked") or (shadow and score.get("reason"))):
                continue
            name = Name("control", str(score["control"]), str(score["direction"]), shadow)
            self._counts.add(at_s, name)
            if score.get("category") and not shadow:
                self._counts.add(at_s, Name("category", str(score["category"])))

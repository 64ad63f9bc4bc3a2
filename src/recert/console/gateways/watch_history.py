"""The history of a watch as pages show it: read up to a bound, checked as a chain, and evidence after each run."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from recert.betting import RiseProcess
from recert.errors import RecordError, StoreError
from recert.records.live.watching import HistoryPoint, HistoryStart, WatchedRun, WatchReport
from recert.store.audit.chain import walk
from recert.store.audit.file import read_checkpoint, require_met

MOST_BYTES: Final = 32 * 2**20
"""Of a history; what comes after is not drawn, and the page says so."""
_FIRST_BYTES: Final = 4096
_MOST_FILES: Final = 50
_KEPT: Final = 16
_MOST_LOG: Final = 700.0

Rate = tuple[str, str]
"""Path and estimand."""


@dataclass(frozen=True)
class Ran:
    """One run of a history: when, under which certificate, what came of it, and counts by rate."""

    at: datetime
    serial: str
    outcome: str
    counts: Mapping[Rate, tuple[int, int]]
    """Bad replies, and prompts."""


@dataclass(frozen=True)
class Watched:
    """A history as far as it was read."""

    path: Path
    runs: tuple[Ran, ...]
    problem: str
    """Why it is not all there, in words; empty where it is."""
    cut: bool
    """Whether it is longer than what was read."""
    digests: Mapping[int, str]
    """Of its lines, by number."""

    @property
    def renewals(self) -> tuple[Ran, ...]:
        """The first run under each certificate after the first."""
        return tuple(
            run for before, run in zip(self.runs, self.runs[1:], strict=False) if run.serial != before.serial
        )

    def lacks(self, point: HistoryPoint | None) -> bool:
        """Say whether the line that a report names is not there."""
        return point is not None and not self.cut and self.digests.get(point.seq) != point.sha256


@dataclass(frozen=True)
class EvidenceAt:
    """Evidence of a rise of one rate after a run, as orders of ten."""

    at: datetime
    ever: float
    """The most there ever was, which suspends."""
    recent: float
    """Of a recent rise, which warns."""


def histories_in(folders: set[Path]) -> Iterator[Path]:
    """Yield files in folders that begin as histories of watching do."""
    for folder in sorted(folders):
        try:
            files = sorted(folder.glob("*.jsonl"))[:_MOST_FILES]
        except OSError:
            continue
        for file in files:
            try:
                with file.open("rb") as opened:
                    first = opened.readline(_FIRST_BYTES)
            except OSError:
                continue
            if f'"kind":"{HistoryStart.schema_name}"'.encode() in first:
                yield file


def history_of(report: WatchReport, folders: set[Path]) -> Watched | None:
    """Return the history that a report belongs to: the one with the line that it names, else one with its serial."""
    found = [read(file) for file in histories_in(folders)]
    for one in found:
        if report.history is not None and not one.lacks(report.history):
            return one
    return next((one for one in found if any(run.serial == report.serial for run in one.runs)), None)


_READ: OrderedDict[tuple[Path, int, int], Watched] = OrderedDict()
_LOCK: Final = threading.Lock()


def read(path: Path) -> Watched:
    """Return a history up to 32 MB; one that has not changed since is not read again. Never raises."""
    try:
        about = path.stat()
        key = (path, about.st_mtime_ns, about.st_size)
        with _LOCK:
            if key in _READ:
                _READ.move_to_end(key)
                return _READ[key]
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
    except OSError as exc:
        return Watched(path, (), f"it cannot be read: {exc.strerror}", cut=False, digests={})
    made = _parsed(path, data, cut=about.st_size > MOST_BYTES)
    with _LOCK:
        _READ[key] = made
        while len(_READ) > _KEPT:
            _READ.popitem(last=False)
    return made


def evidence_of(history: Watched, rate: Rate, bound: float) -> list[EvidenceAt]:
    """Return the evidence that a rate rose above a bound, after each run that asked it."""
    if not 0 < bound < 1:
        return []
    process, most, made = RiseProcess(bound), 0.0, []
    for run in history.runs:
        if rate in run.counts:
            process.update(*run.counts[rate])
            most = max(most, process.ever)
            made.append(EvidenceAt(run.at, _order(most), _order(process.recent)))
    return made


def _parsed(path: Path, data: bytes, *, cut: bool) -> Watched:
    runs: list[Ran] = []
    digests: dict[int, str] = {}
    problem = ""
    whole = data[: data.rfind(b"\n") + 1]
    try:
        for line in walk(whole.splitlines(keepends=True), path):
            if line.kind == WatchedRun.schema_name:
                runs.append(_run(line.body))
            digests[line.seq] = line.sha256
        if not cut:
            wanted = read_checkpoint(path)
            require_met(path, wanted, len(digests), digests.get(wanted[0]))
    except (RecordError, StoreError) as exc:
        problem = exc.message.replace("the audit log", "it").replace("audit log", "it")
    except (LookupError, TypeError, ValueError, orjson.JSONDecodeError):
        problem = f"line {len(digests) + 1} is no run of a watch"
    return Watched(path, tuple(runs), problem, cut, digests)


def _run(body: Mapping[str, Any]) -> Ran:
    counts = {
        (str(sample["through"]), str(sample["estimand"])): (int(sample["bad"]), len(sample["prompts"]))
        for sample in body["samples"]
    }
    if any(not 0 <= bad <= n for bad, n in counts.values()):
        raise ValueError("counts disagree")
    return Ran(datetime.fromisoformat(body["watched_at"]), str(body["serial"]), str(body["outcome"]), counts)


def _order(evidence: float) -> float:
    return (
        min(_MOST_LOG, math.log10(evidence)) if 0 < evidence < math.inf else (_MOST_LOG if evidence else -2.0)
    )

"""
Watching of a system: evidence over time, the fingerprint, renewals, and what would suspend its certificate.

Here too: where the parts of a plot of a watch lie: evidence of a rise over time, with what warns and what suspends.

Here too: the history of a watch as pages show it: read up to a bound, checked as a chain, and evidence after each run.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from starlette.responses import Response

from recert.betting import RiseProcess
from recert.console import list_words
from recert.console.accounts.rights import Right
from recert.console.list_words import Shown
from recert.console.pages import Page
from recert.console.systems_pages import system_of
from recert.console.visiting import Visit
from recert.errors import RecertError, RecordError, StoreError
from recert.records.live.watching import (
    CanaryResult,
    HistoryPoint,
    HistoryStart,
    OverTime,
    WatchedRun,
    WatchReport,
)
from recert.store.audit.chain import walk
from recert.store.audit.file import read_checkpoint, require_met
from recert.store.files.writing import read_bytes

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


WIDTH, HEIGHT = 440, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 432, 14, 150
_LOWEST: Final = -1.0
_ROOM: Final = 1.2
_MOST_POINTS: Final = 200


@dataclass(frozen=True)
class WatchPlot:
    """A plot to draw; positions are pixels."""

    ever: str
    recent: str
    suspend: float
    warn: float
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str, str], ...]
    """Place, time, and on which side of the place the text stands."""
    said: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    bottom: int = _BOTTOM


def watch_plot(points: Sequence[EvidenceAt], found: OverTime) -> WatchPlot | None:
    """Lay out evidence over time; None where there is none."""
    if not points:
        return None
    suspend, warn = math.log10(found.suspend_at), math.log10(found.warn_at)
    highest = _ROOM * max(suspend, warn)
    first, last = points[0].at, points[-1].at
    span_s = max(1.0, (last - first).total_seconds())

    def y(order: float) -> float:
        inside = min(max(order, _LOWEST), highest)
        return round(_BOTTOM - (inside - _LOWEST) / (highest - _LOWEST) * (_BOTTOM - _TOP), 1)

    def x(at: datetime) -> float:
        if len(points) == 1:
            return float(_RIGHT)
        return round(_LEFT + (at - first).total_seconds() / span_s * (_RIGHT - _LEFT), 1)

    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    drawn = [*points[::step], points[-1]]
    return WatchPlot(
        ever=" ".join(f"{x(p.at)},{y(p.ever)}" for p in drawn),
        recent=" ".join(f"{x(p.at)},{y(p.recent)}" for p in drawn),
        suspend=y(suspend),
        warn=y(warn),
        y_ticks=tuple((y(order), f"10^{order}") for order in range(0, math.floor(highest) + 1)),
        x_ticks=(
            (float(_LEFT), f"{first:%Y-%m-%d %H:%M}", "start"),
            (float(_RIGHT), f"{last:%Y-%m-%d %H:%M}", "end"),
        ),
        said=f"Evidence of a rise over {len(points)} runs from {first:%Y-%m-%d} to {last:%Y-%m-%d}: the most ever is "
        f"10^{points[-1].ever:.1f}, 10^{suspend:.1f} suspends; of a recent rise 10^{points[-1].recent:.1f}, "
        f"10^{warn:.1f} warns.",
    )


_MOST_BYTES: Final = 16 * 2**20
_LAST_RUNS: Final = 30
OUTCOMES: Final = {
    "renew": Shown("may be renewed", "yes"),
    "warn": Shown("look at it", "undecided"),
    "suspend": Shown("suspend", "no"),
}


class RateShown(NamedTuple):
    """One rate on one path, with its plot where there is a history."""

    canary: CanaryResult
    plot: WatchPlot | None
    outlook: str


def shown_watch(visit: Visit) -> Response:
    """The last watch of a system, and all before it."""
    system = system_of(visit)
    values: dict[str, Any] = {
        "report": None,
        "trouble": "",
        "history": None,
        "rates": [],
        "runs": [],
        "lacking": False,
    }
    path = system.records.get("watch")
    if path is not None:
        try:
            report = _report(path)
        except RecertError as exc:
            values["trouble"] = exc.message
        else:
            history = history_of(report, {system.folder, path.parent})
            values |= {
                "report": report,
                "history": history,
                "rates": [_rate(canary, history) for canary in report.canaries],
                "runs": history.runs[: -_LAST_RUNS - 1 : -1] if history else (),
                "lacking": history is not None and history.lacks(report.history),
            }
    return visit.page(
        "watch.html.j2",
        title=system.name,
        system=system,
        outcomes=OUTCOMES,
        ends=list_words.ends,
        now=datetime.now(UTC),
        **values,
    )


def _report(path: Any) -> WatchReport:
    """The last report. Raises StoreError, RecordError."""
    try:
        too_long = path.stat().st_size > _MOST_BYTES
    except OSError as exc:
        raise StoreError("the report cannot be read", facts={"because": exc.strerror}) from exc
    if too_long:
        raise StoreError("the report is too long to be one", facts={"file": path})
    return WatchReport.from_json(read_bytes(path, "report of the watch"))


def _rate(canary: CanaryResult, history: Watched | None) -> RateShown:
    plot = None
    if history is not None and canary.over_time is not None and canary.through is not None:
        points = evidence_of(history, (canary.through, canary.estimand), canary.over_time.bound)
        plot = watch_plot(points, canary.over_time)
    return RateShown(canary, plot, outlook(canary))


def outlook(canary: CanaryResult) -> str:
    """Return in words what would suspend the certificate for this rate."""
    found = canary.over_time
    if found is None:
        return (
            f"Without a history one run decides alone: it suspends where the rate is surely more than "
            f"{100 * canary.margin:.0f} points above the certified one."
        )
    if found.rise >= found.suspend_at:
        return "There was enough evidence of a rise to suspend, and that stays: a person has to look."
    bound, ceiling = f"{100 * found.bound:.1f} %", f"{100 * found.ceiling:.1f} %"
    return (
        f"It suspends once evidence of a rate above {bound} is {_figure(found.suspend_at)}; the most so far was "
        f"{_figure(found.rise)}. It warns at {_figure(found.warn_at)} of a recent rise, now "
        f"{_figure(found.recent_rise)}. A renewal needs {_figure(found.renew_at)} that it is below {ceiling}, now "
        f"{_figure(found.within)}."
    )


def _figure(evidence: float) -> str:
    """Evidence as people read it."""
    if evidence >= 1e6:
        return f"10^{math.log10(evidence):.0f}"
    return f"{evidence:,.0f}" if evidence >= 100 else f"{evidence:.3g}"


PAGES: Final = (Page("GET", "/systems/{id}/watch", Right.READ, shown_watch, sharable=True),)

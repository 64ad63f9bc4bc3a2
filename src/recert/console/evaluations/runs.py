"""Runs that are at work, or were: folders with progress below the console's roots, and jobs of the tuning service."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert.errors import RecertError
from recert.service.settings import ServiceSettings
from recert.service.storage.tables import Place, open_place, read_page
from recert.service.work.events import Event, Events
from recert.service.work.queue import ENDED, Job, JobQueue, job_of
from recert.store.tables import SERVICE_JOBS
from recert.workflows.progress_file import FILE, SeenProgress, read_progress

_FRESH_S: Final = 10.0
_WAIT_S: Final = 0.2
_MOST_FOLDERS: Final = 50_000
_DEEPEST: Final = 8
_WEIGHTS: Final = ("config.json", "adapter_config.json")
MOST_RUNS: Final = 100
MOST_JOBS: Final = 50
MOST_EVENTS: Final = 30


@dataclass(frozen=True)
class FolderRun:
    """Progress that lies in a folder; `trouble` where it cannot be read."""

    id: str
    folder: Path
    seen: SeenProgress | None
    trouble: str = ""

    @property
    def name(self) -> str:
        """What its model is called."""
        return self.seen.told.name if self.seen else self.folder.name

    @property
    def state(self) -> str:
        """`running`, `ended`, `failed`, `killed` or `unreadable`."""
        return self.seen.state if self.seen else "unreadable"


_READ: OrderedDict[tuple[Path, int, int, int], FolderRun] = OrderedDict()
_LOCK: Final = threading.Lock()
_KEPT: Final = 4 * MOST_RUNS


def run_in(folder: Path) -> FolderRun | None:
    """Return the run of a folder; None where none left its progress there. What has not changed is not read again."""
    path = folder / FILE
    try:
        about = path.stat()
    except OSError:
        return None
    key = (path, about.st_ino, about.st_mtime_ns, about.st_size)
    with _LOCK:
        if key in _READ:
            _READ.move_to_end(key)
            return _READ[key]
    try:
        seen = read_progress(path)
    except RecertError as exc:
        return FolderRun(_id_of(folder), folder, None, exc.message)
    if seen is None:
        return None
    with _LOCK:
        run = _READ[key] = FolderRun(_id_of(folder), folder, seen)
        while len(_READ) > _KEPT:
            _READ.popitem(last=False)
    return run


def _id_of(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]


class Runs:
    """
    Folders that are looked through for progress, in a thread, at most every ten seconds and while somebody looks.

    Args:
        roots: the folders.
    """

    def __init__(self, roots: Sequence[Path] = ()) -> None:
        self._roots = roots
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._looking: Future[None] | None = None
        self._looked_at = float("-inf")

    def all(self) -> list[FolderRun]:
        """Return every run, those at work first, then the newest first."""
        self._refresh()
        found = [run for folder in list(self._folders.values()) if (run := run_in(folder)) is not None]
        found.sort(key=lambda run: (run.state != "running", -(run.seen.touched_s if run.seen else 0.0)))
        return found[:MOST_RUNS]

    def find(self, id_: str) -> FolderRun | None:
        """Return one run; None where there is none of this id."""
        if id_ not in self._folders:
            self._refresh()
        folder = self._folders.get(id_)
        return run_in(folder) if folder is not None else None

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _refresh(self) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="runs")
            due = time.monotonic() - self._looked_at > _FRESH_S
            if due and (self._looking is None or self._looking.done()):
                self._looking = self._pool.submit(self._look)
            looking = self._looking
        if looking is not None:
            wait([looking], timeout=_WAIT_S)

    def _look(self) -> None:
        found: dict[str, Path] = {}
        for folder in sorted(_folders(self._roots), key=_touched, reverse=True)[: 2 * MOST_RUNS]:
            found[_id_of(folder)] = folder
            run_in(folder)  # so that no page waits for all of them
        self._folders = found
        self._looked_at = time.monotonic()


def _folders(roots: Iterable[Path]) -> Iterable[Path]:
    """Folders that hold progress. Links are not followed, and folders of models are passed over."""
    left, looked = [(root, 0) for root in roots], 0
    while left and looked < _MOST_FOLDERS:
        folder, depth = left.pop()
        looked += 1
        try:
            with os.scandir(folder) as entries:
                inside = list(entries)
        except OSError:
            continue
        names = {one.name for one in inside}
        if FILE in names:
            yield folder
        if depth < _DEEPEST and names.isdisjoint(_WEIGHTS):
            left += [
                (Path(one.path), depth + 1)
                for one in inside
                if not one.name.startswith(".") and one.is_dir(follow_symlinks=False)
            ]


@dataclass(frozen=True)
class JobRun:
    """A job of the tuning service: its state, its last events, and progress of the model that is evaluated now."""

    job: Job
    events: tuple[Event, ...]
    runs: tuple[FolderRun, ...]

    @property
    def at_work(self) -> bool:
        """Whether it has not ended."""
        return self.job.status not in ENDED

    @property
    def step(self) -> tuple[int, int] | None:
        """The step of training that was told last, and how many there are."""
        for event in self.events:
            if event.kind == "metrics" and "step" in event.data:
                return int(event.data["step"]), int(event.data["total_steps"])
        return None


class ServiceRuns:
    """Jobs of the tuning service of a folder, read from its tables. Nothing is written there."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._place: Place | None = None
        self._lock = threading.Lock()

    def jobs(self) -> list[Job]:
        """Return the newest jobs of every project. Raises StoreError, SettingsError."""
        place = self._open()
        if place is None:
            return []
        rows, _ = read_page(place, SERVICE_JOBS, [], after=None, limit=MOST_JOBS)
        return [job_of(row) for row in rows]

    def find(self, id_: str) -> JobRun | None:
        """Return one job with its events; None where there is none. Raises StoreError, SettingsError."""
        place = self._open()
        job = JobQueue(place).find(id_) if place is not None else None
        if place is None or job is None or self._folder is None:
            return None
        events, _ = Events(place).page(id_, after=None, limit=MOST_EVENTS)
        folders = _folders([ServiceSettings.read(self._folder).job_folder(id_)])
        runs = [run for folder in folders if (run := run_in(folder)) is not None]
        return JobRun(job, tuple(events), tuple(sorted(runs, key=_newest)))

    def close(self) -> None:
        """Let go of the database."""
        if self._place is not None:
            self._place.close()

    def _open(self) -> Place | None:
        with self._lock:
            if self._place is None and self._folder is not None:
                settings = ServiceSettings.read(self._folder)
                if settings.database or Path(str(settings.store)).exists():
                    self._place = open_place(settings.store)
            return self._place


def _touched(folder: Path) -> float:
    try:
        return (folder / FILE).stat().st_mtime
    except OSError:
        return 0.0


def _newest(run: FolderRun) -> Any:
    return -(run.seen.touched_s if run.seen else 0.0)

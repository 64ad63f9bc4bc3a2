"""Jobs of the tuning service, as pages of runs show them. Loaded only by a console that is told of a service."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.console.evaluations.runs import FolderRun, folders_with_progress, run_in
from recert.service.settings import ServiceSettings
from recert.service.storage.tables import Database, open_database, read_page
from recert.service.workers.events import Event, Events
from recert.service.workers.queue import ENDED, Job, JobQueue, job_of
from recert.store.tables import SERVICE_JOBS

MOST_JOBS: Final = 50
MOST_EVENTS: Final = 30


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
        self._place: Database | None = None
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
        folders = folders_with_progress([ServiceSettings.read(self._folder).job_folder(id_)])
        runs = [run for folder in folders if (run := run_in(folder)) is not None]
        return JobRun(job, tuple(events), tuple(sorted(runs, key=_newest)))

    def close(self) -> None:
        """Let go of the database."""
        if self._place is not None:
            self._place.close()

    def _open(self) -> Database | None:
        with self._lock:
            if self._place is None and self._folder is not None:
                settings = ServiceSettings.read(self._folder)
                if settings.database or Path(str(settings.store)).exists():
                    self._place = open_database(settings.store)
            return self._place


def _newest(run: FolderRun) -> float:
    return -(run.seen.touched_s if run.seen else 0.0)

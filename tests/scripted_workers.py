"""A worker of a tuning service that does what a test tells it, without a model: on the service's own tables."""

from __future__ import annotations

from typing import Any

from recert.service.settings import ServiceSettings
from recert.service.storage.systems import Systems
from recert.service.storage.tables import open_database
from recert.service.storage.uploads import Files
from recert.service.workers.events import Events
from recert.service.workers.queue import Job, JobQueue
from tuning_services import Service


class ScriptedWorker:
    """What a worker writes, step by step."""

    def __init__(self, service: Service) -> None:
        settings = ServiceSettings.read(service.served)
        self.place = open_database(settings.store)
        self.queue, self.events = JobQueue(self.place), Events(self.place)
        self.files, self.systems = Files(self.place, settings), Systems(self.place)

    def screen(self, kind: str = "chat") -> None:
        """Mark every upload as screened."""
        while (file := self.files.unscreened()) is not None:
            self.files.settle(file, "processed", kind=kind, rows=1, accepted=1)

    def take(self) -> Job:
        """Claim the oldest job that waits."""
        job = self.queue.claim("scripted", lease_ms=60_000)
        assert job is not None
        return job

    def say(self, job: Job, message: str, **more: Any) -> None:
        """Write an event of a job."""
        self.events.add(job.id, message, **more)

    def end(self, job: Job, status: str, **value: Any) -> None:
        """End a job, and say so, as workers do."""
        assert self.queue.finish(job, status, **value)
        self.say(job, f"The job has {status}")

    def close(self) -> None:
        """Let go of the tables."""
        self.place.close()

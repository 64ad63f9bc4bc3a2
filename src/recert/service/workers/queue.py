"""
The queue of jobs: who works on what, until when, and what became of it.

A worker claims a job under a name that is used once, and keeps the claim alive. Whatever it writes names that claim:
one that was cancelled, paused or given to another in the meantime takes no more from it. The claim of a worker that
was killed ends by itself, and the next one goes on from the last step that was finished.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from recert.service.storage.tables import Database, new_id, now_ms, now_s, one_at_a_time, packed, read_page
from recert.store.sql import failing
from recert.store.tables import SERVICE_JOBS as JOBS

WAITING: Final = ("validating_files", "queued", "running")
"""States in which a worker may take a job up."""
OPEN: Final = (*WAITING, "paused")
"""States that a job can leave."""
ENDED: Final = ("succeeded", "failed", "cancelled")
_LOOKED_AT: Final = 8


@dataclass(frozen=True)
class Job:
    """One job as it stands in the database."""

    number: int
    id: str
    project: str
    status: str
    owner: str
    attempts: int
    created_s: int
    finished_s: int | None
    request: Mapping[str, Any]
    """What was asked for, as `JobRequest` has it."""
    value: Mapping[str, Any] = field(default_factory=dict)
    """What came of it so far: `fine_tuned_model`, `error`, `trained_tokens`, `result_files` and the like."""


@dataclass
class Repeated(Exception):
    """The same idempotency key was used before; `same` says whether for the same request."""

    found: Any
    same: bool


class TooMany(Exception):
    """The project has as many jobs under way as it may."""


class JobQueue:
    """The jobs of every project."""

    def __init__(self, place: Database) -> None:
        self._place = place

    def add(
        self,
        project: str,
        request: Mapping[str, Any],
        *,
        most_open: int,
        repeat_key: str | None = None,
        repeat_sha256: str | None = None,
    ) -> Job:
        """
        Put a job at the end of the queue.

        Raises:
            TooMany: the project has `most_open` jobs already that have not ended.
            Repeated: there is a job under this idempotency key.
            StoreError: the database cannot be written.
        """
        row = {
            "id": new_id("ftjob"),
            "project": project,
            "status": "validating_files",
            "owner": "",
            "lease_until_ms": 0,
            "not_before_ms": 0,
            "attempts": 0,
            "created_s": now_s(),
            "repeat_key": repeat_key,
            "repeat_sha256": repeat_sha256,
            "request": packed(request),
            "value": "{}",
        }
        count = sql.select(sql.func.count()).where(JOBS.c.project == project, JOBS.c.status.in_(OPEN))
        with failing("write the queue", self._place.where):
            try:
                with self._place.engine.begin() as link:
                    one_at_a_time(self._place, link, project)
                    link.execute(sql.insert(JOBS).values(row))
                    if link.execute(count).scalar_one() > most_open:
                        raise TooMany
            except IntegrityError:
                self._raise_repeated(project, repeat_key, repeat_sha256)
                raise
        return self._one(JOBS.c.id == row["id"])

    def _raise_repeated(self, project: str, key: str | None, sha256: str | None) -> None:
        if key is not None:
            found = self.repeated(project, key)
            if found is not None:
                raise Repeated(found[0], found[1] == sha256) from None

    def repeated(self, project: str, key: str) -> tuple[Job, str] | None:
        """Return the job that an idempotency key made before, and the digest of its request."""
        query = sql.select(JOBS).where(JOBS.c.project == project, JOBS.c.repeat_key == key)
        with failing("read the queue", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else (job_of(row), str(row.repeat_sha256))

    def find(self, job: str, project: str | None = None) -> Job | None:
        """
        Return a job, where it is there and of that project.

        Raises:
            StoreError: the database cannot be read.
        """
        query = sql.select(JOBS).where(JOBS.c.id == job)
        if project is not None:
            query = query.where(JOBS.c.project == project)
        with failing("read the queue", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else job_of(row)

    def page(self, project: str, *, after: str | None, limit: int) -> tuple[list[Job], bool]:
        """Return jobs of a project, the newest first, and whether there are more. Raises as `read_page`."""
        rows, more = read_page(self._place, JOBS, [JOBS.c.project == project], after=after, limit=limit)
        return [job_of(row) for row in rows], more

    def open_jobs(self, project: str) -> list[Job]:
        """Return the jobs of a project that have not ended."""
        query = sql.select(JOBS).where(JOBS.c.project == project, JOBS.c.status.in_(OPEN))
        with failing("read the queue", self._place.where), self._place.engine.connect() as link:
            return [job_of(row) for row in link.execute(query)]

    def claim(self, worker: str, *, lease_ms: int) -> Job | None:
        """
        Take up the oldest job that nobody works on; None where there is none.

        Raises:
            StoreError: the database cannot be written.
        """
        now = now_ms()
        free = sql.and_(
            JOBS.c.status.in_(WAITING),
            JOBS.c.not_before_ms <= now,
            sql.or_(JOBS.c.owner == "", JOBS.c.lease_until_ms < now),
        )
        query = sql.select(JOBS.c.id).where(free).order_by(JOBS.c.number).limit(_LOOKED_AT)
        with failing("claim a job", self._place.where):
            with self._place.engine.connect() as link:
                found = list(link.execute(query).scalars())
            for one in found:
                owner = f"{worker}:{secrets.token_hex(6)}"
                taken = {"owner": owner, "lease_until_ms": now + lease_ms, "attempts": JOBS.c.attempts + 1}
                change = sql.update(JOBS).where(JOBS.c.id == one, free).values(taken)
                with self._place.engine.begin() as link:
                    won = link.execute(change).rowcount == 1
                if won:
                    return self._one(JOBS.c.id == one)
        return None

    def beat(self, job: Job, *, lease_ms: int) -> bool:
        """Keep a claim alive; False where it is no longer there."""
        return self._set(job, {"lease_until_ms": now_ms() + lease_ms})

    def change(self, job: Job, *, status: str | None = None, **value: Any) -> bool:
        """Write what came of a job that is claimed; False where the claim is no longer there."""
        with failing("read the queue", self._place.where), self._place.engine.connect() as link:
            kept = link.execute(sql.select(JOBS.c.value).where(JOBS.c.id == job.id)).scalar_one()
        fields: dict[str, Any] = {"value": packed({**json.loads(kept), **value})}
        return self._set(job, fields | ({"status": status} if status else {}))

    def finish(self, job: Job, status: str, **value: Any) -> bool:
        """End a job that is claimed; False where the claim is no longer there."""
        return self.change(job, **value) and self._set(
            job, {"status": status, "owner": "", "lease_until_ms": 0, "finished_s": now_s()}
        )

    def give_back(self, job: Job, *, wait_ms: int = 0, counted: bool = True) -> bool:
        """Let go of a claim, so that the job is taken up again; not `counted`: the attempt was no fault of its own."""
        attempts = (
            JOBS.c.attempts if counted else sql.case((JOBS.c.attempts > 0, JOBS.c.attempts - 1), else_=0)
        )
        return self._set(
            job,
            {"owner": "", "lease_until_ms": 0, "not_before_ms": now_ms() + wait_ms, "attempts": attempts},
        )

    def release(self, worker: str, *, counted: bool = True) -> int:
        """Let go of every claim of a worker that is gone; `counted` where it was not told to end. Returns how many."""
        attempts = {} if counted else {"attempts": JOBS.c.attempts - 1}
        change = (
            sql.update(JOBS)
            .where(JOBS.c.owner.startswith(f"{worker}:", autoescape=True), JOBS.c.status.in_(WAITING))
            .values(owner="", lease_until_ms=0, **attempts)
        )
        with failing("write the queue", self._place.where), self._place.engine.begin() as link:
            return link.execute(change).rowcount

    def cancel(self, project: str, job: str) -> bool:
        """End a job that has not ended; False where it has."""
        return self._move(project, job, OPEN, {"status": "cancelled", "finished_s": now_s()})

    def pause(self, project: str, job: str) -> bool:
        """Hold a job that waits or runs; False where it does not."""
        return self._move(project, job, WAITING, {"status": "paused"})

    def resume(self, project: str, job: str) -> bool:
        """Let a paused job go on; False where it is not paused."""
        return self._move(project, job, ("paused",), {"status": "queued", "attempts": 0, "not_before_ms": 0})

    def _move(self, project: str, job: str, states: tuple[str, ...], fields: dict[str, Any]) -> bool:
        change = (
            sql.update(JOBS)
            .where(JOBS.c.project == project, JOBS.c.id == job, JOBS.c.status.in_(states))
            .values({"owner": "", "lease_until_ms": 0, **fields})
        )
        with failing("write the queue", self._place.where), self._place.engine.begin() as link:
            return link.execute(change).rowcount == 1

    def _set(self, job: Job, fields: dict[str, Any]) -> bool:
        change = (
            sql.update(JOBS)
            .where(JOBS.c.id == job.id, JOBS.c.owner == job.owner, JOBS.c.status.in_(WAITING))
            .values(fields)
        )
        with failing("write the queue", self._place.where), self._place.engine.begin() as link:
            return link.execute(change).rowcount == 1

    def _one(self, condition: Any) -> Job:
        with failing("read the queue", self._place.where), self._place.engine.connect() as link:
            return job_of(link.execute(sql.select(JOBS).where(condition)).one())


def job_of(row: Any) -> Job:
    """Return a job from its row."""
    return Job(
        number=row.number,
        id=row.id,
        project=row.project,
        status=row.status,
        owner=row.owner,
        attempts=row.attempts,
        created_s=row.created_s,
        finished_s=row.finished_s,
        request=json.loads(row.request),
        value=json.loads(row.value),
    )

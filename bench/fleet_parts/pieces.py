"""The parts that a fleet meets first, measured with their real code: certificates, status lists, queue, cache, log."""

from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sql

from recert.certification import approve, issue_status, read_status
from recert.certification.signing.content import new_serial
from recert.certification.signing.statement import statement_bytes
from recert.certification.trust.store import TrustStore
from recert.certification.verifier import Presented, Verifier
from recert.errors import StoreError
from recert.gateway.service import Service
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.policy import load_policy
from recert.records.record import now
from recert.records.reports.evaluation import EvalReport
from recert.records.signed.certificate import StatusEntry
from recert.records.signed.transparency import LogEntry
from recert.service.storage.tables import Database, open_database
from recert.service.workers.claim import LEASE_MS
from recert.service.workers.queue import JobQueue
from recert.store.cache import CachedReply, GenerationCache, MadeBy
from recert.store.database import upgrade
from recert.store.tables import SERVICE_JOBS
from recert.store.transparency.folder import LogFolder, create_log
from recert.workflows.deploy.stage import Recheck

from .units import cpu_s, median_s

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from builders import BASE_FILES, TUNED_FILES, make_eval_report, make_manifest
from certified_folders import Certified

WEAK_REASON = "harmful/harm: 9 of 24 prompts, above the certified rate and its margin"


@dataclass(frozen=True)
class Certificates:
    """CPU seconds and bytes of certificates with as many results as the policy asks for."""

    bytes: int
    sign_s: float
    verify_s: float
    """Signatures, roles, policy and results; without hashing files."""
    lineage_bytes: float
    """By which one renewal lengthens the next certificate."""


@dataclass(frozen=True)
class StatusListCost:
    """CPU seconds and bytes of one status list of so many entries."""

    entries: int
    bytes: int
    packed_bytes: int
    issue_s: float
    read_s: float
    recheck_s: float
    """What looking at one served model costs while nothing has changed: about once a second for each."""
    largest: int
    """Entries that fit into what a reader takes."""


@dataclass(frozen=True)
class QueueCost:
    """Of the tuning service's own queue, a second on the clock, one client."""

    database: str
    claims_per_s: float
    claims_late_per_s: float
    """With the ended jobs of ten weeks in the table."""
    beats_per_s: float
    ended: int


@dataclass(frozen=True)
class Gateway:
    """One gateway that holds certificates of the whole fleet."""

    find_s: float
    list_s: float
    models: int


@dataclass(frozen=True)
class Store:
    """Cached replies and log entries a second on the clock."""

    cache_writes_per_s: float
    cache_reads_per_s: float
    log_alone_per_s: float
    log_together_per_s: float
    reply_bytes: float
    entry_bytes: float


def certified(folder: Path, report: EvalReport) -> Certified:
    """Return a certified model on disk whose certificate carries the results of a report."""
    made = make_eval_report(
        base=make_manifest(BASE_FILES),
        tuned=make_manifest(TUNED_FILES),
        policy=load_policy("default"),
        **{
            name: getattr(report, name)
            for name in ("rules", "suites", "judges", "prompts_asked", "limitations")
        },
    )
    return Certified(folder, policy=load_policy("default"), changes={"eval_report": made})


def certificates(one: Certified) -> Certificates:
    """Measure signing and verifying."""
    envelope, key, at = one.certificate.read_bytes(), one.keys["approver"], now()
    longer = one.content.model_copy(update={"lineage": tuple(new_serial() for _ in range(52))})
    verifier = Verifier(trust=one.trusted, status=None, policy=one.policy)
    return Certificates(
        bytes=len(envelope),
        sign_s=median_s(lambda: approve(envelope, key), 30),
        verify_s=median_s(lambda: verifier.read_signed(Presented(envelope), now=at), 30),
        lineage_bytes=(len(statement_bytes(longer)) - len(statement_bytes(one.content))) / 52 * 4 / 3,
    )


def status_list(one: Certified, entries: int) -> StatusListCost:
    """Measure a list of suspensions: issuing, reading, and looking at one model while nothing changes."""
    at = now()
    some = [
        StatusEntry(serial=new_serial(), status="suspended", reason=WEAK_REASON, since=at)
        for _ in range(entries)
    ]
    made: list[bytes] = []

    def issue() -> None:
        made.append(
            issue_status(
                one.status.read_bytes(),
                key=one.keys["status"],
                trust=one.trusted,
                validity_hours=24,
                entries=some,
            )
        )

    issue_s = cpu_s(issue)
    data = made[0]
    read_s = median_s(lambda: read_status(data, trust=TrustStore.load(one.trust), now=now()), 3)
    one.status.write_bytes(data)
    again = recheck(one)
    again()
    each = (len(data) - 2000) / entries
    return StatusListCost(
        entries=entries,
        bytes=len(data),
        packed_bytes=len(gzip.compress(data, 6)),
        issue_s=issue_s,
        read_s=read_s,
        recheck_s=median_s(again, 20),
        largest=int(16 * 1024 * 1024 / each),
    )


def recheck(one: Certified) -> Recheck:
    """Return what a gateway asks about once a second."""
    verifier = Verifier(trust=one.trusted, status=one.status.read_bytes, policy=one.policy)
    return Recheck(one.verified(), certificate=one.certificate, verifier=verifier)


def gateway(one: Certified, models: int) -> Gateway:
    """Measure finding one of many models, and listing them, as every request and `GET /v1/models` do."""
    verified = one.verified()
    service = Service(verified, lambda: verified, recheck_s=1)
    # what answers is never asked here: names and whether each may answer are all that is looked at
    parts: dict[str, Any] = {"controls": None, "upstream": None, "policy": one.policy}
    served = ServedModels([ServedModel(service, called=f"team-{n:05d}", **parts) for n in range(models)])
    names = [f"team-{n:05d}" for n in range(0, models, 7)]

    def find_all() -> None:
        for name in names:
            assert served.find(name) is not None

    find_s = median_s(find_all, 3) / len(names)
    return Gateway(find_s, median_s(lambda: served.listed("client"), 3), models)


def queue_on(where: Path | str, name: str, *, jobs: int, ended: int) -> QueueCost:
    """Measure claims and signs of life of the service's queue, in a new database and in one of ten weeks."""
    place = open_database(where)
    try:
        queue = JobQueue(place)
        early, claimed = _claims(queue, place, jobs)
        began = time.perf_counter()
        for _ in range(3):
            for job in claimed[: jobs // 3]:
                assert queue.beat(job, lease_ms=LEASE_MS)
        beats = 3 * (jobs // 3) / (time.perf_counter() - began)
        _end_all(place, jobs, ended)
        late, _ = _claims(queue, place, jobs)
        return QueueCost(name, early, late, beats, ended)
    finally:
        place.close()


def _claims(queue: JobQueue, place: Database, jobs: int) -> tuple[float, list[Any]]:
    _insert(place, jobs, "queued")
    claimed, began = [], time.perf_counter()
    for n in range(jobs):
        job = queue.claim(f"w{n}", lease_ms=600_000)
        assert job is not None
        claimed.append(job)
    return jobs / (time.perf_counter() - began), claimed


def _end_all(place: Database, jobs: int, ended: int) -> None:
    with place.engine.begin() as link:
        link.execute(sql.update(SERVICE_JOBS).values(status="succeeded", owner="", lease_until_ms=0))
    _insert(place, ended, "succeeded")


def _insert(place: Database, rows: int, status: str) -> None:
    with place.engine.begin() as link:
        first = (link.execute(sql.select(sql.func.max(SERVICE_JOBS.c.number))).scalar() or 0) + 1
        for start in range(0, rows, 5000):
            link.execute(
                sql.insert(SERVICE_JOBS),
                [
                    {
                        "number": first + n, "id": f"ftjob-{first + n}", "project": f"team-{n % 200}",
                        "status": status, "owner": "", "lease_until_ms": 0, "not_before_ms": 0, "attempts": 0,
                        "created_s": 0, "request": "{}", "value": "{}",
                    }
                    for n in range(start, min(rows, start + 5000))
                ],
            )  # fmt: skip


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server of this run's own. Raises StoreError where there is none to run."""
    import pytest

    import postgres

    try:
        with postgres.server() as made:
            url = made.database()
            upgrade(url)
            yield url
    except pytest.skip.Exception as exc:
        raise StoreError(str(exc)) from exc


def store(folder: Path, replies: int = 20_000, entries: int = 5_000) -> Store:
    """Measure the cache of replies, and the transparency log."""
    with GenerationCache(folder / "replies.sqlite") as cache:
        keys, by = [f"{n:064x}" for n in range(replies)], MadeBy("model", "fingerprint")
        reply = CachedReply(
            "Sure, here is a list of things that you can do at home with what you have. " * 2, "stop", 24
        )
        wrote = _per_s(lambda some: cache.write(dict.fromkeys(some, reply), by), keys, 500)
        read = _per_s(lambda some: cache.read(some, by), keys, 500)
    size = sum(p.stat().st_size for p in folder.glob("replies.sqlite*"))
    create_log(folder / "log", "example.com/fleet")
    with LogFolder(folder / "log", write=True) as log:
        made = [_entry(n) for n in range(entries)]
        alone = _per_s(log.append, made[:100], 1)
        together = _per_s(log.append, made[100:], 1000)
    log_bytes = sum(p.stat().st_size for p in (folder / "log").iterdir())
    return Store(wrote, read, alone, together, size / replies, log_bytes / entries)


def _per_s(do: Callable[[Any], object], items: list[Any], at_once: int) -> float:
    began = time.perf_counter()
    for start in range(0, len(items), at_once):
        do(items[start : start + at_once])
    return len(items) / (time.perf_counter() - began)


def _entry(number: int) -> LogEntry:
    at = cast(datetime, now()) - timedelta(seconds=number)
    return LogEntry(kind="certificate", sha256=f"{number:064x}", serial=f"{number:032x}", logged_at=at)

"""Claims on jobs: one worker at a time, no write by one that lost its claim, nothing lost when a worker is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postgres import server
from recert.errors import InputError
from recert.service.storage.tables import Database, open_database, read_page
from recert.service.workers.claim import Claim, Lost, alone_in
from recert.service.workers.queue import JobQueue, Repeated, TooMany
from recert.store.database import upgrade
from recert.store.tables import SERVICE_JOBS

ASKED = {"model": "tiny", "training_file": "file-a"}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL database with every table."""
    with server() as made:
        url = made.database()
        upgrade(url)
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The tables, in a file and in PostgreSQL."""
    where = tmp_path / "q.sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    made = open_database(where)
    with made.engine.begin() as link:
        link.execute(SERVICE_JOBS.delete())
    yield made
    made.close()


@pytest.fixture
def queue(place: Database) -> JobQueue:
    """An empty queue."""
    return JobQueue(place)


def add(queue: JobQueue, project: str = "a", most: int = 9) -> str:
    """Put a job into the queue; return its id."""
    return queue.add(project, ASKED, most_open=most).id


def test_jobs_are_claimed_once_and_in_order(queue: JobQueue) -> None:
    """However many workers look at once, each job has one owner; the oldest go first."""
    made = [add(queue) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(lambda n: queue.claim(f"w{n}", lease_ms=60_000), range(6)))
    won = [job.id for job in claimed if job is not None]
    while (job := queue.claim("last", lease_ms=60_000)) is not None:
        won.append(job.id)

    assert sorted(won) == sorted(made)
    assert set(won[:3]) <= set(made)


def test_who_lost_a_claim_writes_nothing(queue: JobQueue) -> None:
    """After its lease has ended and another took the job, the first worker's writes change nothing."""
    add(queue)
    first = queue.claim("one", lease_ms=1)
    time.sleep(0.01)
    second = queue.claim("two", lease_ms=60_000)

    assert first is not None and second is not None and first.id == second.id
    assert second.attempts == 2
    assert not queue.beat(first, lease_ms=60_000)
    assert not queue.finish(first, "succeeded", fine_tuned_model="x")
    assert queue.finish(second, "failed", error={"code": "c"})
    found = queue.find(first.id)
    assert found is not None and (found.status, dict(found.value)) == ("failed", {"error": {"code": "c"}})


def test_a_cancelled_job_is_told_to_its_worker(queue: JobQueue) -> None:
    """What works on it is interrupted at its next step, and what it still writes is thrown away."""
    made = add(queue)
    job = queue.claim("one", lease_ms=60_000)
    assert job is not None
    with Claim(queue, job) as claim:
        claim.check()
        assert queue.cancel("a", made)
        with pytest.raises(Lost):
            for _ in range(20):
                claim.wait(0.5)

    assert not queue.finish(job, "succeeded")
    found = queue.find(made)
    assert found is not None and found.status == "cancelled" and found.finished_s


def test_claims_of_a_worker_that_is_gone_are_free_at_once(queue: JobQueue) -> None:
    """Its jobs are taken up again without waiting for the lease; being told to end costs no attempt."""
    add(queue)
    first = queue.claim("gone_%", lease_ms=60_000)
    kept = queue.release("gone")
    freed = queue.release("gone_%", counted=False)
    second = queue.claim("next", lease_ms=60_000)

    assert first is not None and second is not None
    assert (kept, freed, second.attempts) == (0, 1, 1)


def test_a_paused_job_is_not_taken_up(queue: JobQueue) -> None:
    """Until it is resumed; then it goes on with all its attempts."""
    made = add(queue)
    queue.claim("one", lease_ms=60_000)
    paused = queue.pause("a", made)
    nothing = queue.claim("two", lease_ms=60_000)
    resumed = queue.resume("a", made)
    again = queue.claim("two", lease_ms=60_000)

    assert paused and resumed and nothing is None
    assert again is not None and again.attempts == 1


def test_a_job_given_back_waits(queue: JobQueue) -> None:
    """After a full disk it is taken up later, and not at once."""
    add(queue)
    job = queue.claim("one", lease_ms=60_000)
    assert job is not None and queue.give_back(job, wait_ms=150)
    soon = queue.claim("two", lease_ms=60_000)
    time.sleep(0.2)
    later = queue.claim("two", lease_ms=60_000)

    assert soon is None and later is not None and later.id == job.id


def test_quota_and_key_hold_when_many_ask_at_once(queue: JobQueue) -> None:
    """Of many requests at once no more become jobs than may, and one key makes one job."""

    def ask(number: int) -> str:
        try:
            key = "same" if number % 2 else None
            return queue.add("a", ASKED, most_open=4, repeat_key=key, repeat_sha256="s").id
        except TooMany:
            return "many"
        except Repeated as exc:
            return str(exc.found.id)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(ask, range(16)))

    assert len({one for one in made if one != "many"}) <= 4
    assert len({one for n, one in enumerate(made) if n % 2 and one != "many"}) <= 1


def test_a_page_goes_on_only_from_what_is_there(place: Database, queue: JobQueue) -> None:
    """An id of another project, or of nothing, is an error and not an empty page."""
    other = add(queue, "b")
    for after in (other, "ftjob-none", "a\x00b"):
        with pytest.raises(InputError):
            read_page(place, SERVICE_JOBS, [SERVICE_JOBS.c.project == "a"], after=after, limit=3)


def test_a_folder_is_held_and_tidied(tmp_path: Path) -> None:
    """What a killed process left half-made is removed by the next; finished things stay."""
    (tmp_path / ".tune.abc123").mkdir()
    (tmp_path / "tune").mkdir()
    with alone_in(tmp_path):
        left = {path.name for path in tmp_path.iterdir()}

    assert left == {"tune", ".lock"}

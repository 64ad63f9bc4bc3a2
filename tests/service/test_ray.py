"""Workers on a Ray cluster: kept alive, each with its share, lost without losing a job, ended by Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from postgres import server
from recert.errors import InputError
from recert.service.settings import ServiceSettings
from recert.service.storage.tables import Database, open_database
from recert.service.workers.events import Event, Events
from recert.service.workers.on_ray import Wanted, require_shared, work_on_ray
from recert.service.workers.queue import Job, JobQueue
from recert.store.database import upgrade
from recert.store.sql import open_engine
from recert.store.tables import REPLIES
from service_desks import settings_of
from tiny_models import make_base
from tuning_services import GOOD, Service, ended, running

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.xdist_group("torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ASKED = {"model": "tiny", "training_file": "file-a"}
SCRIPTED = str(Path(__file__).parents[1] / "scripted_ray_worker.py")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """The address of a cluster of this machine with room for two workers."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80_000_000,
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def told(tmp_path: Path) -> ServiceSettings:
    """A service's folder, as its workers find it."""
    made = settings_of(Service(tmp_path, tmp_path / "base"))
    made.write()
    return made


@pytest.fixture
def place(told: ServiceSettings) -> Iterator[Database]:
    """Its tables."""
    made = open_database(told.store)
    yield made
    made.close()


@pytest.fixture
def kept(told: ServiceSettings, place: Database) -> Iterator[Callable[..., threading.Thread]]:
    """Keep scripted workers alive while a test runs."""
    over, threads = threading.Event(), []
    command = [sys.executable, SCRIPTED, str(told.folder)]

    def start(**wanted: Any) -> threading.Thread:
        threads.append(
            threading.Thread(
                target=work_on_ray,
                args=(told, JobQueue(place), Wanted(**wanted)),
                kwargs={"command": command, "ended": over},
            )
        )
        threads[-1].start()
        return threads[-1]

    yield start
    over.set()
    for one in threads:
        one.join(30)


def until(look: Callable[[], Any], within_s: float = 60) -> Any:
    """Return what is seen once anything is."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def taken_up(place: Database, job: Job, times: int) -> Event:
    """Return the event of a job that was taken up for so many times."""
    events = Events(place)
    until(lambda: len(events.page(job.id, after=None, limit=9)[0]) >= times)
    return events.page(job.id, after=None, limit=9)[0][0]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_lost_worker_loses_no_job(
    told: ServiceSettings, place: Database, kept: Callable[..., threading.Thread]
) -> None:
    """
    The worker is killed, then its actor; another one takes the job up at once, though the claim had long to go.

    Nothing is left of the first when the actor is gone.
    """
    queue = JobQueue(place)
    job = queue.add("a", ASKED, most_open=9)
    kept(cpus=1)
    first = taken_up(place, job, 1)
    os.kill(first.data["pid"], signal.SIGKILL)
    second = taken_up(place, job, 2)
    os.kill(second.data["actor"], signal.SIGKILL)
    third = taken_up(place, job, 3)
    until(lambda: not alive(second.data["pid"]))
    (told.folder / "go").touch()
    done = until(lambda: found if (found := queue.find(job.id)) and found.status == "succeeded" else None)

    assert len({one.data["pid"] for one in (first, second, third)}) == 3
    assert done.attempts == 3


@pytest.mark.slow
def test_each_worker_has_its_share_and_ends_with_the_command(
    told: ServiceSettings, place: Database, kept: Callable[..., threading.Thread]
) -> None:
    """Two workers do two jobs at once; when they are to end, they do, and their jobs wait again with all attempts."""
    queue, over = JobQueue(place), threading.Event()
    jobs = [queue.add("a", ASKED, most_open=9) for _ in range(2)]
    thread = threading.Thread(
        target=work_on_ray,
        args=(told, queue, Wanted(workers=2, cpus=1)),
        kwargs={"command": [sys.executable, SCRIPTED, str(told.folder)], "ended": over},
    )
    thread.start()
    told_of = [taken_up(place, job, 1) for job in jobs]
    over.set()
    thread.join(30)
    left = [queue.find(job.id) for job in jobs]

    assert len({one.data["pid"] for one in told_of}) == 2
    assert [one.data["cores"] for one in told_of] == ["1", "1"]
    assert not any(alive(one.data["pid"]) for one in told_of)
    assert [(one.owner, one.attempts) for one in left if one] == [("", 0), ("", 0)]


@pytest.mark.parametrize(
    ("wanted", "message"), [({"workers": 64}, "not enough"), ({"gpus": 8}, "not enough")]
)
def test_what_a_cluster_does_not_have_is_said_at_once(
    told: ServiceSettings, place: Database, wanted: dict[str, Any], message: str
) -> None:
    """More workers or GPUs than there are: an error, and no endless wait."""
    with pytest.raises(InputError, match=message):
        work_on_ray(told, JobQueue(place), Wanted(**wanted), command=["true"])


@pytest.mark.slow
def test_a_machine_without_the_folder_is_refused(told: ServiceSettings, place: Database) -> None:
    """Where a machine reads other settings than were read here, nothing begins, and the error names the machine."""

    class Elsewhere(threading.Event):
        """Puts another service's settings where the cluster's machines look, before anything begins there."""

        def is_set(self) -> bool:
            told.model_copy(update={"called": "other"}).write()
            return super().is_set()

    with pytest.raises(InputError, match="does not see the service's folder") as refused:
        work_on_ray(told, JobQueue(place), Wanted(), command=["false"], ended=Elsewhere())

    assert refused.value.facts["folder"] == str(told.folder)
    assert refused.value.facts["machine"]


def test_several_machines_need_a_shared_database(told: ServiceSettings) -> None:
    """A file of SQLite is for one machine; PostgreSQL is for as many as there are."""
    shared = told.model_copy(update={"database": "postgresql://db/recert"})
    require_shared(told, nodes=1, address="auto")
    require_shared(shared, nodes=9, address="ray://head:10001")
    for nodes, address in ((2, "auto"), (1, "ray://head:10001")):
        with pytest.raises(InputError, match="a database that they share") as refused:
            require_shared(told, nodes=nodes, address=address)

        assert "recert db upgrade" in refused.value.hint


@pytest.mark.slow
def test_the_command_does_a_real_job(tmp_path: Path, cluster: str) -> None:
    """
    `recert service ray` joins a cluster, its worker tunes and certifies, and Ctrl-C ends both with exit 0.

    With PostgreSQL workers write no file of SQLite, whose locks would not reach other machines.
    """
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(server()).database()
        upgrade(url)
        made = Service(tmp_path, make_base(tmp_path / "base"), options=("--database", url))
        service = stack.enter_context(running(made, "--workers", "0"))
        command = [
            sys.executable, "-m", "recert", "service", "ray", "--folder", str(service.served), "--address", cluster,
        ]  # fmt: skip
        with (tmp_path / "ray-log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        client = service.client()
        try:
            file = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
            job = client.fine_tuning.jobs.create(
                model="tiny", training_file=file.id, hyperparameters={"n_epochs": 1}
            )
            done = ended(client, job.id)
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(60)
        engine = open_engine(url)
        with engine.connect() as link:
            kept = link.execute(sql.select(sql.func.count()).select_from(REPLIES)).scalar_one()
        engine.dispose()
    said = (tmp_path / "ray-log").read_text()

    assert done.status == "succeeded", (done.error, said)
    assert status == 0, said
    assert kept > 0
    assert list(service.served.glob("*.sqlite")) == []

"""Files, events and models in the database: the same in a SQLite file and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import server
from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.service.settings import ServiceSettings
from recert.service.storage.systems import BLOCKED, CERTIFIED, UNASSESSED, Systems
from recert.service.storage.tables import Database, open_database
from recert.service.storage.uploads import TRAINING, Files, QuotaExceeded
from recert.service.workers.events import Events
from recert.store.database import upgrade
from service_desks import settings_of
from tuning_services import GOOD, Service


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
    sqlite = request.param == "sqlite"
    made = open_database(tmp_path / "s.sqlite" if sqlite else request.getfixturevalue("database"))
    yield made
    made.close()


@pytest.fixture
def told(tmp_path: Path) -> ServiceSettings:
    """What the service is told: a project may have two files of ours."""
    return settings_of(Service(tmp_path / "made", tmp_path / "base"), project_bytes=2 * len(GOOD))


def test_files_are_kept_found_and_deleted(place: Database, told: ServiceSettings, tmp_path: Path) -> None:
    """Bytes and row come and go together; what would be too much leaves neither."""
    files, digest = Files(place, told), sha256_bytes(GOOD)
    project = f"p-{tmp_path.name}"[-40:]
    first = files.keep(project, TRAINING, "a.jsonl", GOOD, digest)
    second = files.keep(project, TRAINING, "b.jsonl", GOOD, digest)
    with pytest.raises(QuotaExceeded):
        files.keep(project, TRAINING, "c.jsonl", GOOD, digest)
    report = files.make(project, "report.json", b"{}")
    files.settle(first, "processed", kind="chat")
    page, more = files.page(project, purpose=None, after=None, limit=2, oldest_first=False)

    assert files.content(first.id).read_bytes() == GOOD
    assert ([one.id for one in page], more) == ([report.id, second.id], True)
    found = files.find(first.id, project)
    assert found is not None and (found.status, found.value["kind"]) == ("processed", "chat")
    assert files.find(first.id, "other") is None
    assert files.delete(first) and not files.delete(first)
    assert not files.content(first.id).exists()
    assert len(list((told.folder / "files").iterdir())) == 2


def test_events_and_models_are_read_back(place: Database, tmp_path: Path) -> None:
    """Events come the newest first; a model that is written again has its last state, and one row."""
    events, systems = Events(place), Systems(place)
    job = f"ftjob-{tmp_path.name}"[-40:]
    for number in range(3):
        events.add(job, f"step {number}", kind="metrics", data={"step": number})
    page, more = events.page(job, after=None, limit=2)
    rest, _ = events.page(job, after=page[-1].id, limit=2)
    for state in (UNASSESSED, BLOCKED):
        systems.put(f"ft:{job}", "p", job, 3, state, place="systems/final", reasons=["r"])
    systems.put(f"ft:{job}:ckpt-step-1", "p", job, 1, CERTIFIED)
    found = systems.find(f"ft:{job}", "p")

    assert [one.data["step"] for one in (*page, *rest)] == [2, 1, 0]
    assert more
    assert found is not None and (found.state, found.value["reasons"]) == (BLOCKED, ["r"])
    assert [one.step for one in systems.page(job, after=None, limit=9)[0]] == [1, 3]
    assert f"ft:{job}:ckpt-step-1" in [one.name for one in systems.certified("p")]
    assert systems.delete(f"ft:{job}", "p") and not systems.delete(f"ft:{job}", "p")


@pytest.mark.slow
def test_a_database_without_the_tables_is_refused(request: pytest.FixtureRequest) -> None:
    """The service says that `recert db upgrade` is needed, before it takes anything."""
    with server() as made, pytest.raises(StoreError, match="not the tables of this version"):
        open_database(made.database())

"""Files in a bucket: what is fetched is what was kept, byte for byte, or nothing is."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from recert.errors import SettingsError
from recert.service.storage.choosing import LocalFolder, ObjectDamaged, Storage, StorageUnreachable
from recert.service.storage.object_storage import Bucket, ObjectStorage, open_storage
from recert.service.storage.tables import Database, open_database
from recert.service.workers.claim import Lost
from recert.service.workers.queue import JobQueue
from recert.store.tables import SERVICE_OBJECTS as OBJECTS
from s3_server import S3Server, s3_server
from service_desks import settings_of
from tuning_services import Service


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A running server with a bucket."""
    with s3_server() as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Database]:
    """The database that two machines share."""
    made = open_database(tmp_path / "shared.sqlite")
    yield made
    made.close()


@pytest.fixture
def here(server: S3Server, place: Database, tmp_path: Path) -> ObjectStorage:
    """The storage, as the machine sees it that makes things."""
    return ObjectStorage(place, tmp_path / "here", server.bucket(tmp_path.name))


@pytest.fixture
def there(server: S3Server, place: Database, tmp_path: Path) -> ObjectStorage:
    """The same storage, as another machine sees it."""
    return ObjectStorage(place, tmp_path / "there", server.bucket(tmp_path.name))


def write(folder: Path, **files: bytes) -> Path:
    """Write files into a folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_another_machine_gets_what_was_kept_and_nothing_else(
    here: ObjectStorage, there: ObjectStorage, tmp_path: Path
) -> None:
    """Folders come as they were kept, in place of what lay there; a part can be fetched, replaced or deleted alone."""
    job = write(tmp_path / "here" / "jobs" / "a", report=b"first", same=b"same")
    write(job / "tune", weights=b"w" * 1000, secret=b"s")
    write(job, **{".lock": b""})
    here.keep(job)
    write(tmp_path / "there" / "jobs" / "a" / "tune", stale=b"old")
    other = there.fetch(tmp_path / "there" / "jobs" / "a")
    first = read(other)
    write(job, report=b"second")
    (job / "tune" / "secret").unlink()
    here.keep(job)
    here.delete(job / "same")
    second = read(there.fetch(other))

    assert first == {"report": b"first", "same": b"same", "tune/weights": b"w" * 1000, "tune/secret": b"s"}
    assert second == {"report": b"second", "tune/weights": b"w" * 1000}
    assert (other / "report").stat().st_mode & 0o777 == 0o600
    write(other, unkept=b"u")
    assert read(there.fetch(other, exact=False)) == second | {"unkept": b"u"}
    assert read(there.fetch(other)) == second
    there.release(other)
    assert not other.exists()
    assert read(there.fetch(other / "tune")) == {"weights": b"w" * 1000}
    assert not (other / "report").exists()


def test_the_bucket_holds_what_is_named_and_nothing_more(
    here: ObjectStorage, server: S3Server, place: Database, tmp_path: Path
) -> None:
    """What is the same is not uploaded again; what was replaced or deleted leaves the bucket."""
    folder = write(tmp_path / "here" / "files" / "f", content=b"one", screen=b"s")
    here.keep(folder)
    before = server.keys(tmp_path.name)
    write(folder, content=b"two")
    here.keep(folder)
    after = server.keys(tmp_path.name)
    here.delete(folder)

    assert len(before) == len(after) == 2
    assert len(set(before) & set(after)) == 1
    assert (server.keys(tmp_path.name), folder.exists(), rows(place)) == ([], False, 0)


def rows(place: Database) -> int:
    """Return how many rows the table of objects has."""
    with place.engine.connect() as link:
        return int(link.execute(sql.select(sql.func.count()).select_from(OBJECTS)).scalar_one())


@pytest.mark.parametrize(
    "damage", [b"twp", b"tw", b"two and more", None], ids=["changed", "cut", "longer", "gone"]
)
def test_an_object_that_was_changed_is_refused(
    damage: bytes | None, here: ObjectStorage, there: ObjectStorage, server: S3Server, tmp_path: Path
) -> None:
    """Other bytes, fewer, more or none: an error names the object, and no copy of it lies anywhere."""
    here.keep(write(tmp_path / "here" / "jobs" / "a", weights=b"two"))
    (key,) = server.keys(tmp_path.name)
    if damage is None:
        server.client.delete_object(Bucket="made", Key=key)
    else:
        server.put(key, damage)
    with pytest.raises(ObjectDamaged) as refused:
        there.fetch(tmp_path / "there" / "jobs" / "a")

    assert refused.value.facts["object"].startswith("jobs/a/weights/")
    assert read(tmp_path / "there") == {}
    assert here.fetch(tmp_path / "here" / "jobs" / "a" / "weights").read_bytes() == b"two"


def test_a_copy_that_was_changed_is_fetched_again(
    here: ObjectStorage, there: ObjectStorage, tmp_path: Path
) -> None:
    """What lies in the folder is hashed at each fetch: a changed copy, of the same length too, is put right."""
    here.keep(write(tmp_path / "here" / "jobs" / "a", weights=b"right"))
    copy = there.fetch(tmp_path / "there" / "jobs" / "a" / "weights")
    copy.write_bytes(b"wrong")

    assert there.fetch(copy).read_bytes() == b"right"


def test_a_strangers_object_is_no_file(here: ObjectStorage, server: S3Server, tmp_path: Path) -> None:
    """Nothing is found by listing the bucket."""
    server.put(f"{tmp_path.name}/jobs/a/certificate.json/feed/certificate.json", b"{}")

    assert read(here.fetch(tmp_path / "here" / "jobs" / "a")) == {}


def test_who_lost_the_job_keeps_nothing(
    here: ObjectStorage, there: ObjectStorage, place: Database, tmp_path: Path
) -> None:
    """A worker whose claim was given to another cannot replace what that one kept."""
    queue = JobQueue(place)
    made = queue.add("p", {}, most_open=9)
    first = queue.claim("one", lease_ms=0)
    time.sleep(0.002)
    second = queue.claim("two", lease_ms=60_000)
    assert first is not None and second is not None
    there.keep(write(tmp_path / "there" / "jobs" / made.id, report=b"second"), claimed=second)
    with pytest.raises(Lost):
        here.keep(write(tmp_path / "here" / "jobs" / made.id, report=b"first"), claimed=first)

    assert read(there.fetch(tmp_path / "there" / "jobs" / made.id)) == {"report": b"second"}


@pytest.mark.slow
def test_while_the_server_is_down_nothing_changes(
    here: ObjectStorage, there: ObjectStorage, server: S3Server, tmp_path: Path
) -> None:
    """Keeping and fetching say that it does not answer; what was kept stays; copies that are right are used."""
    folder = write(tmp_path / "here" / "jobs" / "a", report=b"first")
    here.keep(folder)
    there.fetch(tmp_path / "there" / "jobs" / "a")
    server.wire.unplug()
    try:
        write(folder, report=b"second")
        with pytest.raises(StorageUnreachable):
            here.keep(folder)
        with pytest.raises(StorageUnreachable):
            here.check()
        during = read(there.fetch(tmp_path / "there" / "jobs" / "a"))
        there.release(tmp_path / "there" / "jobs")
        with pytest.raises(StorageUnreachable):
            there.fetch(tmp_path / "there" / "jobs" / "a")
    finally:
        server.wire.plug()
    after = read(there.fetch(tmp_path / "there" / "jobs" / "a"))

    assert during == after == {"report": b"first"}


def _keep_large(where: Path, url: str, prefix: str) -> None:
    storage = ObjectStorage(open_database(where / "shared.sqlite"), where / "here", Bucket(prefix, url))
    storage.keep(where / "here" / "jobs" / "a")


@pytest.mark.slow
def test_an_upload_that_was_killed_was_never_there(
    here: ObjectStorage, there: ObjectStorage, server: S3Server, place: Database, tmp_path: Path
) -> None:
    """Killed with half of its parts sent, the old files are what is fetched; what it left is swept a day later."""
    folder = write(tmp_path / "here" / "jobs" / "a", aaa=b"old")
    here.keep(folder)
    write(folder, aaa=b"new", weights=bytes(40 * 2**20))
    server.wire.stalls_after = 20 * 2**20
    process = multiprocessing.get_context("spawn").Process(
        target=_keep_large, args=(tmp_path, server.url, f"s3://made/{tmp_path.name}")
    )
    process.start()
    until = time.monotonic() + 60
    while time.monotonic() < until and server.wire.stalls_after >= 0:
        time.sleep(0.05)
    process.kill()
    process.join()
    server.wire.stalls_after = None

    assert read(there.fetch(tmp_path / "there" / "jobs" / "a")) == {"aaa": b"old"}
    assert server.unfinished() == 1
    assert not any("weights" in key for key in server.keys(tmp_path.name))
    assert len(server.keys(tmp_path.name)) == 2
    assert here.sweep() == 0
    with place.engine.begin() as link:
        link.execute(sql.update(OBJECTS).values(created_s=OBJECTS.c.created_s - 100_000))
    assert here.sweep() == 2
    assert server.unfinished() == 0
    assert len(server.keys(tmp_path.name)) == 1
    assert read(there.fetch(tmp_path / "there" / "jobs" / "a")) == {"aaa": b"old"}


@pytest.mark.parametrize(
    "where", ["made", "s3:/made", "s3://", "s3://Made/x", "s3://made/../other", "http://made"]
)
def test_what_is_no_bucket_is_refused(where: str) -> None:
    """A place is `s3://bucket/prefix`."""
    with pytest.raises(SettingsError):
        Bucket(where)


def test_the_folder_is_the_storage_unless_told(place: Database, tmp_path: Path) -> None:
    """Without a bucket everything lies where it was written, and one that is not there says so at once."""
    told = settings_of(Service(tmp_path / "made", tmp_path / "base"))
    storage: Storage = open_storage(told, place)
    folder = write(told.job_folder("a"), report=b"r")
    storage.keep(folder)

    assert isinstance(storage, LocalFolder)
    assert read(storage.fetch(folder)) == {"report": b"r"}
    storage.release(folder)
    assert (folder.exists(), storage.sweep()) == (True, 0)
    storage.delete(folder)
    assert not folder.exists()

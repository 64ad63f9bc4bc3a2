"""
A bucket as the service's storage: the database says which object is which file, and the folder holds copies.

An object is only there for others once the database names it, and only while its bytes are those that the database
names: nothing is found by listing the bucket, so half an upload, an older version or a stranger's object is no file.
Before anything is uploaded its keys are written down; what a killed process left under them is deleted a day later.

Here too: one bucket of an object storage that speaks S3: put, get and delete, with its errors as ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.digest import sha256_file
from recert.errors import MissingExtraError, SettingsError, StoreError
from recert.service.settings import ServiceSettings
from recert.service.storage.choosing import LocalFolder, ObjectDamaged, Storage, StorageUnreachable, remove
from recert.service.storage.tables import Database, now_s
from recert.service.workers.claim import Lost
from recert.service.workers.queue import WAITING, Job
from recert.store.sql import failing
from recert.store.tables import SERVICE_JOBS as JOBS
from recert.store.tables import SERVICE_OBJECTS as OBJECTS

_WHERE: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w!.*'()/-]*))?", re.ASCII)
_BLOCK_BYTES: Final = 2**20
_PART_BYTES: Final = 16 * 2**20
_CONNECT_S: Final = 5
_READ_S: Final = 15
_ATTEMPTS: Final = 3
_GONE: Final = ("NoSuchKey", "404")


class Bucket:
    """
    A bucket, below a prefix.

    Credentials are those of the environment, a profile or the machine, as every client of Amazon's finds them.

    Args:
        where: `s3://bucket/prefix`.
        endpoint: address of its server; empty for Amazon's.

    Raises:
        SettingsError: that is no such place.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(self, where: str, endpoint: str = "") -> None:
        found = _WHERE.fullmatch(where)
        if found is None or ".." in where:
            raise SettingsError(
                "not a place in an object storage", facts={"given": where}, hint="such as s3://bucket/prefix"
            )
        self.where = where
        self._bucket, self._prefix = found[1], (found[2] or "").strip("/")
        self._client = _client(endpoint)
        from boto3.s3.transfer import TransferConfig

        self._parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)

    def check(self) -> None:
        """Return when the bucket is there and we may use it. Raises StorageUnreachable."""
        with self._failing("use the bucket"):
            self._client.head_bucket(Bucket=self._bucket)

    def put(self, key: str, path: Path) -> None:
        """
        Put a file; large ones in parts that are nothing until the last one is there.

        Raises:
            StorageUnreachable: the bucket does not take it.
            StoreError: the file cannot be read.
        """
        with self._failing("write to the bucket", key):
            self._client.upload_file(str(path), self._bucket, self._key(key), Config=self._parts)

    def get(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        """
        Get a file with these bytes and no others: until all of it is there and right, the path is left as it was.

        Raises:
            ObjectDamaged: the object is gone, or holds something else.
            StorageUnreachable: the bucket does not answer.
            StoreError: the file cannot be written.
        """
        made = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with self._failing("read from the bucket", key):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                got = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
                with contextlib.closing(got), os.fdopen(_private(made), "wb") as file:
                    found = _copy(got.iter_chunks(_BLOCK_BYTES), file, size)
            if found != (size, sha256):
                raise ObjectDamaged(
                    "an object in the storage is not what was kept there",
                    facts={"object": key, "kept": f"sha256:{sha256}", "found": f"sha256:{found[1]}"},
                    hint="put the right one back, or delete what it belongs to and make it again",
                )
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Delete an object, where it is there. Raises StorageUnreachable."""
        with self._failing("delete from the bucket", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def end_parts(self, key: str) -> None:
        """End uploads in parts to a key, which whoever began them will not finish. Raises StorageUnreachable."""
        where = {"Bucket": self._bucket, "Key": self._key(key)}
        with self._failing("delete from the bucket", key):
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=where["Key"])
            for one in found.get("Uploads", ()):
                if one["Key"] == where["Key"]:
                    self._client.abort_multipart_upload(**where, UploadId=one["UploadId"])

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextlib.contextmanager
    def _failing(self, doing: str, key: str = "") -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        facts = {"storage": self.where, **({"object": key} if key else {})}
        try:
            yield
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", "unknown"))
            if key and code in _GONE:
                raise ObjectDamaged(
                    "an object is gone from the storage",
                    facts=facts,
                    hint="put it back, or delete what it belongs to and make it again",
                ) from exc
            raise StorageUnreachable(
                f"cannot {doing}",
                facts={**facts, "because": code},
                hint="look whether the bucket is there, and what its credentials may",
            ) from exc
        except (BotoCoreError, Boto3Error, HTTPClientError) as exc:
            because = str(exc).strip().split("\n", maxsplit=1)[0][:200]
            raise StorageUnreachable(
                f"cannot {doing}",
                facts={**facts, "because": because or type(exc).__name__},
                hint="look whether the storage runs, and whether there are credentials for it",
            ) from exc
        except OSError as exc:
            raise StoreError(f"cannot {doing}", facts={**facts, "because": exc.strerror or exc}) from exc


@lru_cache(maxsize=4)
def _client(endpoint: str) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as exc:
        raise MissingExtraError(
            "the client of object storages is not installed", hint="run `pip install 'recert[s3]'`"
        ) from exc
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # we compare sha256 ourselves, and servers other than Amazon's do not all know its trailing checksums
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint else {},
    )
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        return session.client("s3", region_name=region, endpoint_url=endpoint or None, config=config)
    except ValueError as exc:
        raise SettingsError("not the address of an object storage", facts={"given": endpoint}) from exc


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _copy(blocks: Iterable[bytes], file: Any, most: int) -> tuple[int, str]:
    """Write blocks, and no more than should be there; return what was written: its size and sha256."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        size += len(block)
        if size > most:
            break
        digest.update(block)
        file.write(block)
    file.flush()
    os.fsync(file.fileno())
    return size, digest.hexdigest()


log = logging.getLogger("recert.service")

_UNNEEDED: Final = "~"
_LEFT_S: Final = 24 * 3600
"""How long an upload may take, before what is there of it counts as left behind."""


def open_storage(settings: ServiceSettings, place: Database) -> Storage:
    """
    Return where what a service makes lies. Nothing is connected yet.

    Raises:
        SettingsError: the storage is none.
        MissingExtraError: its client is not installed.
    """
    if not settings.storage:
        return LocalFolder()
    return ObjectStorage(place, settings.folder, Bucket(settings.storage, settings.storage_endpoint))


@dataclass(frozen=True)
class _Kept:
    """One file that is kept."""

    path: str
    key: str
    size: int
    sha256: str


class ObjectStorage:
    """
    What a service made, in a bucket.

    Args:
        place: the database that names every object.
        folder: where copies lie; each machine has its own.
        bucket: where the objects lie.
    """

    def __init__(self, place: Database, folder: Path, bucket: Bucket) -> None:
        self._place, self._folder, self._bucket = place, folder, bucket

    def check(self) -> None:
        """Return when the bucket can be used. Raises StorageUnreachable."""
        self._bucket.check()

    def keep(self, path: Path, *, claimed: Job | None = None) -> None:
        """Upload what is new, then name it in one step; see `Storage.keep`."""
        name = self._name(path)
        before = {one.path: one for one in self._kept(name)}
        token = secrets.token_hex(8)
        files = {self._name(file): file for file in _files(path)}
        wanted = {at: (file.stat().st_size, sha256_file(file)) for at, file in files.items()}
        same = {at for at, said in wanted.items() if at in before and said == _said(before[at])}
        new = {at: _Kept(at, f"{at}/{token}", *wanted[at]) for at in files if at not in same}
        self._announce([one.key for one in new.values()])
        for at, one in new.items():
            self._bucket.put(one.key, files[at])
        gone = [one.key for at, one in before.items() if at not in same]
        with failing("write the objects", self._place.where), self._place.engine.begin() as link:
            if claimed is not None:
                _require_claim(link, claimed)
            link.execute(sql.delete(OBJECTS).where(_under(name), OBJECTS.c.path.not_in(sorted(same))))
            _write(link, [*new.values(), *map(_unneeded, gone)])
            link.execute(
                sql.delete(OBJECTS).where(OBJECTS.c.path.in_([_UNNEEDED + n.key for n in new.values()]))
            )
        self._empty(gone)

    def fetch(self, path: Path, *, exact: bool = True) -> Path:
        """Make the copies what is kept; each file is hashed, those that were there too. See `Storage.fetch`."""
        name = self._name(path)
        try:
            self._mirror(self._kept(name))
        except ObjectDamaged:  # what was read of the table may have been replaced meanwhile
            self._mirror(self._kept(name))
        if exact:
            self._remove_others(path, name)
        return path

    def delete(self, path: Path) -> None:
        """Take it out of the table, then empty its keys; those that cannot be emptied now are so later."""
        name = self._name(path)
        with failing("write the objects", self._place.where), self._place.engine.begin() as link:
            keys = list(link.execute(sql.select(OBJECTS.c.key).where(_under(name))).scalars())
            link.execute(sql.delete(OBJECTS).where(_under(name)))
            _write(link, list(map(_unneeded, keys)))
        remove(path)
        self._empty(keys)

    def release(self, path: Path) -> None:
        """Remove the copies."""
        remove(path)

    def sweep(self) -> int:
        """Empty the keys that were written down a day ago and have become nothing."""
        old = sql.select(OBJECTS.c.key).where(
            OBJECTS.c.path.startswith(_UNNEEDED), OBJECTS.c.created_s < now_s() - _LEFT_S
        )
        with failing("read the objects", self._place.where), self._place.engine.connect() as link:
            keys = list(link.execute(old).scalars())
        for key in keys:
            self._bucket.end_parts(key)
        return self._empty(keys)

    def _mirror(self, kept: Sequence[_Kept]) -> None:
        for one in kept:
            copy = self._folder / one.path
            there = copy.is_file() and copy.stat().st_size == one.size and sha256_file(copy) == one.sha256
            if not there:
                self._bucket.get(one.key, copy, size=one.size, sha256=one.sha256)

    def _remove_others(self, path: Path, name: str) -> None:
        known = {one.path for one in self._kept(name)}
        for file in _files(path):
            if self._name(file) not in known:
                remove(file)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _kept(self, name: str) -> list[_Kept]:
        query = sql.select(OBJECTS).where(_under(name)).order_by(OBJECTS.c.path)
        with failing("read the objects", self._place.where), self._place.engine.connect() as link:
            return [_Kept(row.path, row.key, row.size, row.sha256) for row in link.execute(query)]

    def _announce(self, keys: Sequence[str]) -> None:
        with failing("write the objects", self._place.where), self._place.engine.begin() as link:
            _write(link, list(map(_unneeded, keys)))

    def _empty(self, keys: Sequence[str]) -> int:
        """Delete objects, and forget those that are gone; what cannot be deleted now is tried again by `sweep`."""
        done = []
        try:
            for key in keys:
                self._bucket.delete(key)
                done.append(_UNNEEDED + key)
        except StorageUnreachable as exc:
            log.warning("objects are deleted later: %s", exc.message)
        with failing("write the objects", self._place.where), self._place.engine.begin() as link:
            link.execute(sql.delete(OBJECTS).where(OBJECTS.c.path.in_(done)))
        return len(done)


def _files(path: Path) -> Iterator[Path]:
    """The files at a path, without those whose name, or folder's name, begins with a dot."""
    if path.is_file():
        yield path
    for one in sorted(path.iterdir()) if path.is_dir() else ():
        if not one.name.startswith(".") and not one.is_symlink():
            yield from _files(one)


def _said(one: _Kept) -> tuple[int, str]:
    return one.size, one.sha256


def _unneeded(key: str) -> _Kept:
    return _Kept(_UNNEEDED + key, key, 0, "")


def _under(name: str) -> sql.ColumnElement[bool]:
    return sql.or_(OBJECTS.c.path == name, OBJECTS.c.path.startswith(f"{name}/", autoescape=True))


def _write(link: sql.Connection, kept: Sequence[_Kept]) -> None:
    rows: list[Mapping[str, Any]] = [
        {"path": k.path, "key": k.key, "size": k.size, "sha256": k.sha256, "created_s": now_s()} for k in kept
    ]
    if rows:
        link.execute(sql.insert(OBJECTS), rows)


def _require_claim(link: sql.Connection, job: Job) -> None:
    """Hold the job's row until the transaction ends. Raises Lost where it is claimed by another, or by nobody."""
    held = sql.and_(JOBS.c.id == job.id, JOBS.c.owner == job.owner, JOBS.c.status.in_(WAITING))
    if link.execute(sql.update(JOBS).where(held).values(owner=job.owner)).rowcount != 1:
        raise Lost

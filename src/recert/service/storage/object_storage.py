"""
A bucket as the service's storage: the database says which object is which file, and the folder holds copies.

An object is only there for others once the database names it, and only while its bytes are those that the database
names: nothing is found by listing the bucket, so half an upload, an older version or a stranger's object is no file.
Before anything is uploaded its keys are written down; what a killed process left under them is deleted a day later.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.digest import sha256_file
from recert.service.settings import ServiceSettings
from recert.service.storage.bucket import Bucket
from recert.service.storage.choosing import LocalFolder, ObjectDamaged, Storage, StorageUnreachable, remove
from recert.service.storage.tables import Database, now_s
from recert.service.work.claim import Lost
from recert.service.work.queue import WAITING, Job
from recert.store.sql import failing
from recert.store.tables import SERVICE_JOBS as JOBS
from recert.store.tables import SERVICE_OBJECTS as OBJECTS

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

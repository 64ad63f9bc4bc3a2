"""Files of clients and files made for them: bytes on disk, digests and the rest in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.service.settings import ServiceSettings
from recert.service.storage.object_storage import open_storage
from recert.service.storage.tables import Database, new_id, now_s, one_at_a_time, packed, read_page
from recert.service.workers.queue import Repeated
from recert.store.files.writing import publish_folder
from recert.store.sql import failing
from recert.store.tables import SERVICE_FILES as FILES

TRAINING: Final = "fine-tune"
RESULTS: Final = "fine-tune-results"
CONTENT: Final = "content"
"""The name of the bytes in a file's folder."""
SCREENED: Final = "screen"
"""The name of the folder with what screening found, in a file's folder."""


@dataclass(frozen=True)
class StoredFile:
    """One file, without its bytes."""

    id: str
    project: str
    purpose: str
    status: str
    """`uploaded`, `processed` once it is screened, or `error`."""
    sha256: str
    size: int
    created_s: int
    value: Mapping[str, Any] = field(default_factory=dict)
    """`filename`; `details`; of training files `kind`, `rows`, `accepted`, `quarantined`, `report` and the like."""


class QuotaExceeded(Exception):
    """The project's files would take more than it may."""


class Files:
    """The files of every project."""

    def __init__(self, place: Database, settings: ServiceSettings) -> None:
        self._place = place
        self._settings = settings
        self.storage = open_storage(settings, place)
        """Where their bytes lie, and those of jobs."""

    def content(self, file: str) -> Path:
        """
        Return where a file's bytes lie.

        Raises:
            ObjectDamaged: they are gone from the storage, or others.
            StoreError: they cannot be fetched.
        """
        return self.storage.fetch(self._settings.file_folder(file) / CONTENT)

    def screened(self, file: str) -> Path:
        """Return the folder of what screening found in a file. Raises as `content`."""
        return self.storage.fetch(self._settings.file_folder(file) / SCREENED)

    def keep_screened(self, file: str) -> None:
        """Keep what screening found in a file. Raises StoreError."""
        self.storage.keep(self._settings.file_folder(file) / SCREENED)

    def keep(
        self,
        project: str,
        purpose: str,
        filename: str,
        data: bytes | Path,
        sha256: str,
        *,
        repeat_key: str | None = None,
        repeat_sha256: str | None = None,
    ) -> StoredFile:
        """
        Keep a file: first its bytes, then the row that names them. What a crash leaves between is never listed.

        Args:
            project: whose it is.
            purpose: `fine-tune` or `fine-tune-results`.
            filename: what its owner calls it.
            data: its bytes, or a file on the same disk that becomes it.
            sha256: of the bytes.
            repeat_key: the client's idempotency key, and `repeat_sha256` the digest of what it asked.

        Raises:
            QuotaExceeded: the project's files would be too large.
            Repeated: a file was kept under this key before.
            StoreError: disk or database cannot be written.
        """
        made = new_id("file")
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with publish_folder(self._settings.file_folder(made)) as folder:
            if isinstance(data, bytes):
                (folder / CONTENT).write_bytes(data)
            else:
                data.rename(folder / CONTENT)
        row = {
            "id": made,
            "project": project,
            "purpose": purpose,
            "status": "uploaded" if purpose == TRAINING else "processed",
            "sha256": sha256,
            "size": size,
            "created_s": now_s(),
            "repeat_key": repeat_key,
            "repeat_sha256": repeat_sha256,
            "value": packed({"filename": filename}),
        }
        try:
            self.storage.keep(self._settings.file_folder(made))
            self._insert(row)
        except BaseException:
            self.drop(made)
            raise
        found = self.find(made)
        if found is None:
            raise StoreError("the file that was kept is not there", facts={"file": made})
        return found

    def _insert(self, row: dict[str, Any]) -> None:
        used = sql.select(sql.func.coalesce(sql.func.sum(FILES.c.size), 0)).where(
            FILES.c.project == row["project"], FILES.c.purpose == TRAINING
        )
        with failing("write the files", self._place.where):
            try:
                with self._place.engine.begin() as link:
                    one_at_a_time(self._place, link, row["project"])
                    link.execute(sql.insert(FILES).values(row))
                    total = int(link.execute(used).scalar_one())
                    if row["purpose"] == TRAINING and total > self._settings.project_bytes:
                        raise QuotaExceeded
            except IntegrityError:
                key = row["repeat_key"]
                found = self.repeated(row["project"], key) if key else None
                if found is None:
                    raise
                raise Repeated(found[0], found[1] == row["repeat_sha256"]) from None

    def make(self, project: str, filename: str, data: bytes) -> StoredFile:
        """Keep a file that the service made for a project. Raises StoreError."""
        return self.keep(project, RESULTS, filename, data, sha256_bytes(data))

    def repeated(self, project: str, key: str) -> tuple[StoredFile, str] | None:
        """Return the file that an idempotency key made before, and the digest of what was asked."""
        query = sql.select(FILES).where(FILES.c.project == project, FILES.c.repeat_key == key)
        with failing("read the files", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else (_file(row), str(row.repeat_sha256))

    def find(self, file: str, project: str | None = None) -> StoredFile | None:
        """Return a file, where it is there and of that project. Raises StoreError."""
        query = sql.select(FILES).where(FILES.c.id == file)
        if project is not None:
            query = query.where(FILES.c.project == project)
        with failing("read the files", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else _file(row)

    def page(
        self, project: str, *, purpose: str | None, after: str | None, limit: int, oldest_first: bool
    ) -> tuple[list[StoredFile], bool]:
        """Return files of a project, and whether there are more. Raises as `read_page`."""
        conditions = [FILES.c.project == project]
        if purpose is not None:
            conditions.append(FILES.c.purpose == purpose)
        rows, more = read_page(
            self._place, FILES, conditions, after=after, limit=limit, oldest_first=oldest_first
        )
        return [_file(row) for row in rows], more

    def unscreened(self) -> StoredFile | None:
        """Return the oldest training file that waits to be screened."""
        query = (
            sql.select(FILES)
            .where(FILES.c.purpose == TRAINING, FILES.c.status == "uploaded")
            .order_by(FILES.c.number)
            .limit(1)
        )
        with failing("read the files", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else _file(row)

    def settle(self, file: StoredFile, status: str, **value: Any) -> bool:
        """Say what became of a file; False where it was deleted meanwhile."""
        change = (
            sql.update(FILES)
            .where(FILES.c.id == file.id)
            .values(status=status, value=packed({**file.value, **value}))
        )
        with failing("write the files", self._place.where), self._place.engine.begin() as link:
            return link.execute(change).rowcount == 1

    def delete(self, file: StoredFile) -> bool:
        """Delete a file, its row first; False where it is not there."""
        gone = sql.delete(FILES).where(FILES.c.id == file.id)
        with failing("write the files", self._place.where), self._place.engine.begin() as link:
            done = link.execute(gone).rowcount == 1
        self.drop(file.id)
        return done

    def drop(self, file: str) -> None:
        """Delete the bytes of a file that has no row, and what screening found in it. Raises StoreError."""
        self.storage.delete(self._settings.file_folder(file))


def _file(row: Any) -> StoredFile:
    return StoredFile(
        row.id,
        row.project,
        row.purpose,
        row.status,
        row.sha256,
        row.size,
        row.created_s,
        json.loads(row.value),
    )

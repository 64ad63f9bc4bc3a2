"""Which record files were read for the list of systems, how they stood then, and what they said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.digest import sha256_bytes
from recert.store.sql import failing
from recert.store.tables import SYSTEM_FILES

_AT_ONCE: Final = 500


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when it was read, and the few facts that are kept of it."""

    path: Path
    mtime_ns: int
    size: int
    facts: dict[str, Any]


class FilesIndex:
    """The table of files that were read, in an open database."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    def read(self) -> dict[Path, KnownFile]:
        """Return every file that was read. Raises StoreError."""
        with failing("read the list of records", ""), self._engine.connect() as link:
            rows = link.execute(sql.select(SYSTEM_FILES)).all()
        return {
            (path := Path(row.path)): KnownFile(path, row.mtime_ns, row.size, json.loads(row.facts))
            for row in rows
        }

    def facts(self, paths: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
        """Return what some files said, by the same names; files that were not read are left out. Raises StoreError."""
        names = {_key(path): name for name, path in paths.items()}
        query = sql.select(SYSTEM_FILES).where(SYSTEM_FILES.c.key.in_(list(names)))
        with failing("read the list of records", ""), self._engine.connect() as link:
            return {names[row.key]: json.loads(row.facts) for row in link.execute(query)}

    def put(self, files: Iterable[KnownFile]) -> None:
        """Write what was read; earlier readings of the same files go. Raises StoreError."""
        rows = [
            {
                "key": _key(one.path),
                "path": str(one.path),
                "mtime_ns": one.mtime_ns,
                "size": one.size,
                "facts": json.dumps(one.facts),
            }
            for one in files
        ]
        with failing("write the list of records", ""), self._engine.begin() as link:
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE]
                link.execute(sql.delete(SYSTEM_FILES).where(SYSTEM_FILES.c.key.in_([r["key"] for r in some])))
                link.execute(sql.insert(SYSTEM_FILES), some)

    def drop(self, paths: Iterable[Path]) -> None:
        """Forget files. Raises StoreError."""
        keys = [_key(path) for path in paths]
        with failing("write the list of records", ""), self._engine.begin() as link:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                link.execute(sql.delete(SYSTEM_FILES).where(SYSTEM_FILES.c.key.in_(some)))


def _key(path: Path) -> str:
    return sha256_bytes(str(path).encode())

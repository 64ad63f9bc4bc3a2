"""What all tables of the service share: ids, times, pages, and how they are opened."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.errors import InputError
from recert.store.database import require_current
from recert.store.places import is_url
from recert.store.sql import failing, open_engine
from recert.store.tables import (
    META,
    SERVICE_EVENTS,
    SERVICE_FILES,
    SERVICE_JOBS,
    SERVICE_MODELS,
    SERVICE_OBJECTS,
)

_ID_BYTES: Final = 12
_TABLES: Final = (SERVICE_FILES, SERVICE_JOBS, SERVICE_EVENTS, SERVICE_MODELS, SERVICE_OBJECTS)


@dataclass(frozen=True)
class Database:
    """An open database, and what errors call it."""

    engine: sql.Engine
    where: Path | str

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_database(where: Path | str) -> Database:
    """
    Open the service's tables; in a file of SQLite they are made.

    Raises:
        StoreError: they cannot be opened, or the database has not the tables of this version.
    """
    engine = open_engine(where)
    if is_url(where):
        require_current(str(where))
    else:
        with failing("open the service's tables", where):
            META.create_all(engine, tables=_TABLES)
    return Database(engine, where)


def one_at_a_time(place: Database, link: sql.Connection, project: str) -> None:
    """Hold a project's quota until the transaction ends. SQLite has one writer, which its first write makes."""
    if place.engine.dialect.name == "postgresql":
        lock = sql.func.pg_advisory_xact_lock(sql.func.hashtextextended(f"recert service {project}", 0))
        link.execute(sql.select(lock))


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess, such as `file-...`."""
    return f"{prefix}-{secrets.token_hex(_ID_BYTES)}"


def now_s() -> int:
    """Return seconds since 1970."""
    return int(time.time())


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return int(time.time() * 1000)


def packed(value: Any) -> str:
    """Return a value as it is kept: JSON, in ASCII, so that every database takes it."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def read_page(
    place: Database,
    table: sql.Table,
    conditions: Sequence[Any],
    *,
    after: str | None,
    limit: int,
    oldest_first: bool = False,
) -> tuple[list[Any], bool]:
    """
    Return rows of a table, the newest first, and whether there are more behind them.

    Args:
        place: the database.
        table: with `id` and `number`.
        conditions: which rows count.
        after: the id of the last row of the page before.
        limit: rows at most.
        oldest_first: the other way round.

    Raises:
        InputError: `after` is none of these rows.
        StoreError: the database cannot be read.
    """
    number = table.c.number
    query = sql.select(table).where(*conditions)
    with failing("read the service's tables", place.where), place.engine.connect() as link:
        if after is not None:
            where = sql.select(number).where(*conditions, table.c.id == after)
            at = link.execute(where).scalar_one_or_none() if "\x00" not in after else None
            if at is None:
                raise InputError("no such object to go on from", facts={"after": after[:80]})
            query = query.where(number > at if oldest_first else number < at)
        rows = link.execute(
            query.order_by(number.asc() if oldest_first else number.desc()).limit(limit + 1)
        ).all()
    return list(rows[:limit]), len(rows) > limit

"""The console's database: opened, and what all of its tables use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sql

from recert.digest import sha256_bytes
from recert.store.database import require_current
from recert.store.places import is_url
from recert.store.sql import failing, open_engine
from recert.store.tables import (
    CONSOLE_ACCOUNTS,
    CONSOLE_FAILURES,
    CONSOLE_PENDING,
    CONSOLE_SESSIONS,
    CONSOLE_SHARES,
    META,
)

SECRET_BYTES: Final = 32
FILE: Final = "console.sqlite"
"""In the console's folder, where no URL is given."""
_TABLES: Final = [CONSOLE_ACCOUNTS, CONSOLE_SESSIONS, CONSOLE_FAILURES, CONSOLE_PENDING, CONSOLE_SHARES]


@dataclass(frozen=True)
class ConsolePlace:
    """An open database, what errors call it, and the time that its rows are held to."""

    engine: sql.Engine
    where: Path | str
    clock: Callable[[], float] = time.time

    def now_s(self) -> int:
        """Return seconds since 1970."""
        return int(self.clock())

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """Read. Raises StoreError where that fails."""
        with failing("read the console's tables", self.where), self.engine.connect() as link:
            yield link

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Write, all or nothing. Raises StoreError where that fails."""
        with failing("write the console's tables", self.where), self.engine.begin() as link:
            yield link

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_console(where: Path | str, *, clock: Callable[[], float] = time.time) -> ConsolePlace:
    """
    Open the console's tables; in a file of SQLite they are made.

    Raises:
        StoreError: they cannot be opened, or the database has not the tables of this version.
    """
    engine = open_engine(where)
    if is_url(where):
        require_current(str(where))
    else:
        with failing("open the console's tables", where):
            META.create_all(engine, tables=_TABLES)
    return ConsolePlace(engine, where, clock)


def new_secret() -> str:
    """Return 256 random bits, safe in a cookie and in a path."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> str:
    """Return what is kept of a secret: its sha256."""
    return sha256_bytes(secret.encode())

"""Databases by URL: SQLite for one node, PostgreSQL for several; how they are opened, and what their errors become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from recert.errors import MissingExtraError, SettingsError, StoreError
from recert.store.places import is_url, shown

_CONNECT_S: Final = 3
STATEMENT_S: Final = 5
_POSTGRESQL: Final = {
    "connect_timeout": _CONNECT_S,
    "application_name": "recert",
    "options": f"-c statement_timeout={STATEMENT_S * 1000} -c synchronous_commit=on"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
}


def open_engine(where: Path | str, *, one_link: bool = False) -> sql.Engine:
    """
    Return an engine for a SQLite file, or a `sqlite:` or `postgresql:` URL; nothing is connected yet.

    Args:
        where: a file, which only its owner may read, or a URL.
        one_link: open a new connection whenever one is asked for, and keep none.

    Raises:
        StoreError: the file cannot be made.
        SettingsError: the URL is none, or of a database that is not supported.
        MissingExtraError: the driver for PostgreSQL is not installed.
    """
    pool: dict[str, Any] = {"poolclass": sql.NullPool} if one_link else {"pool_pre_ping": True}
    if not is_url(where):
        path = Path(where)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        except OSError as exc:
            raise StoreError(
                "cannot open the database", facts={"file": path, "because": exc.strerror}
            ) from exc
        where = f"sqlite:///{path}"
    try:
        url = sql.make_url(str(where))
    except SQLAlchemyError as exc:
        raise SettingsError(
            "not the URL of a database", hint="such as postgresql://user@host/recert"
        ) from exc
    if url.get_backend_name() == "sqlite":
        engine = sql.create_engine(url, connect_args={"timeout": 30}, **pool)
        sql.event.listen(engine, "connect", _wal)
        return engine
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingsError(
            "database is not supported",
            facts={"expected": "sqlite or postgresql", "actual": url.get_backend_name()},
        )
    if find_spec("psycopg") is None:
        raise MissingExtraError(
            "the driver for PostgreSQL is not installed", hint="pip install 'recert[postgres]'"
        )
    return sql.create_engine(url.set(drivername="postgresql+psycopg"), connect_args=_POSTGRESQL, **pool)


@contextmanager
def failing(doing: str, where: Path | str) -> Iterator[None]:
    """
    Turn a database's errors into ours; `doing` is what could not be done, as in `read the status list`.

    Raises:
        StoreError: the database failed.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as exc:
        because = str(getattr(exc, "orig", None) or type(exc).__name__).strip().splitlines()
        raise StoreError(
            f"cannot {doing}",
            facts={"database": shown(where), "because": because[0] if because else type(exc).__name__},
            hint="run `recert db upgrade` if its tables are missing" if is_url(where) else "",
        ) from exc


def insert_new(engine: sql.Engine, table: sql.Table) -> Any:
    """Return an insert that leaves rows alone whose key is there already."""
    if engine.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _wal(link: Any, _: object) -> None:
    cursor = link.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()

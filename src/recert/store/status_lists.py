"""Where status lists lie: in a file, or in a database that every gateway reads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from recert.errors import StoreError
from recert.store.files.writing import read_bytes, write_atomic
from recert.store.places import is_url, shown
from recert.store.sql import failing, open_engine
from recert.store.tables import STATUS_LISTS

_NAME: Final = "status"


def read_status(where: Path | str) -> bytes:
    """
    Return the newest status list, from a file or from the database of a URL.

    Raises:
        StoreError: it cannot be read, or there is none.
    """
    if not is_url(where):
        return read_bytes(Path(where), "status list")
    query = (
        sql.select(STATUS_LISTS.c.envelope)
        .where(STATUS_LISTS.c.name == _NAME)
        .order_by(STATUS_LISTS.c.version.desc())
        .limit(1)
    )
    with failing("read the status list", where), _engine(str(where)).connect() as link:
        found = link.execute(query).scalar_one_or_none()
    if found is None:
        raise StoreError("there is no status list", facts={"database": shown(where)}, hint="recert status")
    return bytes(found)


def write_status(where: Path | str, envelope: bytes, version: int) -> None:
    """
    Put a status list in a file's place, or beside its earlier versions in a database.

    Raises:
        StoreError: it cannot be written, or somebody else has issued this version meanwhile.
    """
    if not is_url(where):
        write_atomic(Path(where), envelope)
        return
    row = {"name": _NAME, "version": version, "envelope": envelope}
    try:
        with failing("write the status list", where), _engine(str(where)).begin() as link:
            link.execute(sql.insert(STATUS_LISTS), row)
    except StoreError as exc:
        if isinstance(exc.__cause__, IntegrityError):
            raise StoreError(
                "somebody else has issued a status list meanwhile",
                facts={"database": shown(where), "version": version},
                hint="run the command again: it goes on from theirs",
            ) from exc
        raise


_ENGINES: Final[dict[str, sql.Engine]] = {}


def _engine(url: str) -> sql.Engine:
    """One engine a URL: a gateway looks every second."""
    if url not in _ENGINES:
        _ENGINES[url] = open_engine(url)
    return _ENGINES[url]


def let_go() -> None:
    """Close the connections that are kept for the next look."""
    while _ENGINES:
        _ENGINES.popitem()[1].dispose()

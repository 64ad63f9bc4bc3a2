"""The tables of a database that several gateways share: made, brought up to date, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sql

from recert.errors import MissingExtraError, StoreError
from recert.store.places import shown
from recert.store.sql import failing, open_engine

NEWEST: Final = "0007"
"""The migration that this version of Recert works with."""
_LOCK: Final = sql.text("SELECT pg_advisory_xact_lock(hashtextextended('recert db upgrade', 0))")


def upgrade(url: str) -> str:
    """
    Make the tables, or bring them up to date; return the migration that they are at now.

    May be run by several at once, and again. All or nothing: a migration that fails leaves what was there.

    Raises:
        MissingExtraError: Alembic is not installed.
        StoreError: the database cannot be changed.
        SettingsError: the URL is none, or of a database that is not supported.
    """
    try:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError
    except ImportError as exc:
        raise MissingExtraError("Alembic is not installed", hint="pip install 'recert[postgres]'") from exc
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = open_engine(url, one_link=True)
    try:
        with failing("bring the database up to date", url), engine.begin() as link:
            if engine.dialect.name == "postgresql":
                link.execute(_LOCK)
            config.attributes["connection"] = link
            command.upgrade(config, NEWEST)
            return _version(link)
    except CommandError as exc:
        raise StoreError(
            "cannot bring the database up to date",
            facts={"database": shown(url), "because": exc},
            hint="a newer Recert has been here: use that one",
        ) from exc


def require_current(url: str) -> None:
    """
    Return when a database has the tables of this version of Recert.

    Raises:
        StoreError: it has others, or none, or cannot be read.
    """
    engine = open_engine(url, one_link=True)
    with failing("read the database", url), engine.connect() as link:
        found = _version(link) if sql.inspect(link).has_table("alembic_version") else "none"
    if found != NEWEST:
        raise StoreError(
            "the database has not the tables of this version",
            facts={"database": shown(url), "expected": NEWEST, "actual": found},
            hint="run `recert db upgrade`",
        )


def _version(link: sql.Connection) -> str:
    return str(link.execute(sql.text("SELECT version_num FROM alembic_version")).scalar_one_or_none())

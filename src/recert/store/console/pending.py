"""Sign-ins that a provider elsewhere was asked about: each is taken up once, by the browser that began it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sql

from recert.errors import StoreError
from recert.store.console.database import ConsolePlace, digest_of, new_secret
from recert.store.tables import CONSOLE_PENDING

HOLDS_S: Final = 600
_MOST: Final = 10_000


class Pending:
    """What must come back from a provider, kept for ten minutes."""

    def __init__(self, place: ConsolePlace) -> None:
        self._place = place

    def begin(self, value: Mapping[str, str]) -> str:
        """
        Keep a value; return the id for the browser.

        Raises:
            StoreError: it cannot be written, or too many have begun.
        """
        table, now, made = CONSOLE_PENDING, self._place.now_s(), new_secret()
        with self._place.writing() as link:
            link.execute(table.delete().where(table.c.ends_s <= now))
            if link.execute(sql.select(sql.func.count()).select_from(table)).scalar_one() >= _MOST:
                raise StoreError("too many sign-ins have begun", hint="wait ten minutes")
            row = {"sha256": digest_of(made), "value": json.dumps(dict(value)), "ends_s": now + HOLDS_S}
            link.execute(table.insert().values(row))
        return made

    def take(self, given: str) -> dict[str, str] | None:
        """Return the value of an id, once. Raises StoreError where it cannot be read."""
        table = CONSOLE_PENDING
        its = table.c.sha256 == digest_of(given)
        with self._place.writing() as link:
            row = link.execute(
                sql.select(table).where(its, table.c.ends_s > self._place.now_s())
            ).one_or_none()
            done = link.execute(table.delete().where(its))
        if row is None or not done.rowcount:  # somebody else took it in between
            return None
        found: dict[str, str] = json.loads(row.value)
        return found

"""What several gateways must agree on: how much of a budget is used, and what is known of a conversation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from recert.store.claims import Claim
from recert.store.places import is_url
from recert.store.sql import failing, open_engine
from recert.store.tables import COUNTERS, META, STATES


class Counters:
    """
    Sums by scope, key and period, to which several processes add at once without losing anything.

    Args:
        where: a SQLite file, or a database URL.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._engine = open_engine(where)
        if not is_url(where):
            with failing("open the counters", where):
                META.create_all(self._engine, tables=[COUNTERS])

    def add(self, scope: str, key: str, period: int, amount: int) -> int:
        """
        Add to a sum; return what it is now. A sum that is not there is 0.

        Raises:
            StoreError: the database cannot be written; then nothing was added, as far as is known.
        """
        with failing("write the counters", self._where), self._engine.begin() as link:
            return self._add(link, scope, key, period, amount)

    def take(self, claims: Sequence[Claim]) -> tuple[list[int], Claim | None]:
        """
        Add all of several amounts, or none where one sum would grow beyond its limit.

        Returns:
            What the sums are then, up to and with the one that would be too large, and that claim; None where all
            were added. Of what was not added the sums are as they would have been.

        Raises:
            StoreError: the database cannot be written; then nothing was added, as far as is known.
        """
        sums: list[int] = []
        with (
            failing("write the counters", self._where),
            self._engine.connect() as link,
            link.begin() as change,
        ):
            for claim in claims:
                sums.append(self._add(link, claim.scope, claim.key, claim.period, claim.amount))
                if sums[-1] > claim.limit:
                    change.rollback()
                    return sums, claim
        return sums, None

    def _add(self, link: sql.Connection, scope: str, key: str, period: int, amount: int) -> int:
        insert = (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(COUNTERS)
        change: Any = insert.on_conflict_do_update(
            index_elements=["scope", "key", "period"], set_={"used": COUNTERS.c.used + insert.excluded.used}
        ).returning(COUNTERS.c.used)
        row = {"scope": scope, "key": key, "period": period, "used": amount}
        return int(link.execute(change, row).scalar_one())

    def read(self, scope: str, key: str, period: int) -> int:
        """
        Return a sum.

        Raises:
            StoreError: the database cannot be read.
        """
        query = sql.select(COUNTERS.c.used).where(
            COUNTERS.c.scope == scope, COUNTERS.c.key == key, COUNTERS.c.period == period
        )
        with failing("read the counters", self._where), self._engine.connect() as link:
            return int(link.execute(query).scalar_one_or_none() or 0)

    def forget(self, scope: str, before: int) -> int:
        """
        Delete the sums of periods before one; return how many there were.

        Raises:
            StoreError: the database cannot be written.
        """
        gone = sql.delete(COUNTERS).where(COUNTERS.c.scope == scope, COUNTERS.c.period < before)
        with failing("write the counters", self._where), self._engine.begin() as link:
            return link.execute(gone).rowcount

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


@dataclass(frozen=True)
class Known:
    """A value, and the version that a change of it must name."""

    value: bytes
    version: int


class States:
    """
    Values by scope and key. Who changes one names the version that it read, so that no change is lost.

    Args:
        where: a SQLite file, or a database URL.

    Raises:
        StoreError: the database cannot be opened.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._engine = open_engine(where)
        if not is_url(where):
            with failing("open the states", where):
                META.create_all(self._engine, tables=[STATES])

    def read(self, scope: str, key: str) -> Known | None:
        """
        Return a value that has not expired, or None.

        Raises:
            StoreError: the database cannot be read.
        """
        query = sql.select(STATES.c.value, STATES.c.version).where(
            STATES.c.scope == scope, STATES.c.key == key, STATES.c.expires_s > int(time.time())
        )
        with failing("read the states", self._where), self._engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else Known(bytes(row.value), int(row.version))

    def write(self, scope: str, key: str, value: bytes, *, version: int, keep_s: int) -> bool:
        """
        Put a value in the place of the version that was read, 0 for none; say whether that was still the one.

        On False: read again, and decide again.

        Raises:
            StoreError: the database cannot be written.
        """
        until = int(time.time()) + keep_s
        row = {"scope": scope, "key": key, "version": version + 1, "value": value, "expires_s": until}
        here = sql.and_(STATES.c.scope == scope, STATES.c.key == key)
        with failing("write the states", self._where), self._engine.begin() as link:
            if version:
                change: Any = sql.update(STATES).where(here, STATES.c.version == version).values(row)
                return link.execute(change).rowcount == 1
            insert = (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(STATES)
            change = insert.on_conflict_do_update(
                index_elements=["scope", "key"],
                set_={
                    "version": STATES.c.version
                    + 1,  # so that a version read before it expired is not met again
                    "value": insert.excluded.value,
                    "expires_s": insert.excluded.expires_s,
                },
                where=STATES.c.expires_s <= int(time.time()),
            ).returning(STATES.c.version)
            return link.execute(change, row).scalar_one_or_none() is not None

    def forget_expired(self) -> int:
        """
        Delete what has expired; return how much that was.

        Raises:
            StoreError: the database cannot be written.
        """
        gone = sql.delete(STATES).where(STATES.c.expires_s <= int(time.time()))
        with failing("write the states", self._where), self._engine.begin() as link:
            return link.execute(gone).rowcount

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

"""A list of every system whose records lie in folders, made anew from the records at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.store.places import is_url
from recert.store.sql import failing, open_engine
from recert.store.systems.files_index import FilesIndex
from recert.store.systems.indexed import (
    KINDS,
    NEVER,
    PASSED,
    RECORD_NAMES,
    STATES,
    IndexedOutcome,
    IndexedSystem,
    pack_cursor,
    read_cursor,
    system_of,
    system_row,
)
from recert.store.systems.outcomes_index import OutcomesIndex, OutcomesPage
from recert.store.tables import META, SYSTEM_COUNTS, SYSTEM_FILES, SYSTEM_OUTCOMES, SYSTEMS

__all__ = ["KINDS", "RECORD_NAMES", "STATES", "IndexedSystem", "SystemsIndex", "SystemsPage"]

SORTS: Final = {"made-of": "place", "name": "name", "updated": "-updated_s", "expiry": "expires_s"}
"""Orders of a page: each behind what it was made of, by name, the newest first, what ends soonest first."""
MOST: Final = 200
"""Rows of a page at most."""
_AT_ONCE: Final = 500
_DROPPED_AT_ONCE: Final = 20
_TYPES: Final[dict[str, Any]] = {"place": bytes, "name": str, "updated_s": int, "expires_s": int}


@dataclass(frozen=True)
class SystemsPage:
    """Some of the systems that were asked for."""

    systems: tuple[IndexedSystem, ...]
    total: int
    """How many there are in all."""
    next: str
    """What `after` is to be for those behind them; empty where these are the last."""


@dataclass(frozen=True)
class Counts:
    """How many systems there are of each kind that somebody has to do something about."""

    systems: int
    awaiting: int
    """Certificates that wait for a signature in one of the roles that were named; in any, where none was."""
    expiring: int
    """Signed certificates that end within the time that was asked for."""
    failing: int
    """Evaluations that came to `fail`."""
    by_state: Mapping[str, int]


class SystemsIndex:
    """
    Systems and outcomes in SQLite or PostgreSQL, by pages.

    Args:
        where: a file for SQLite, or a database URL, whose tables `recert db upgrade` makes. None for a list in
            memory, which is empty at first.

    Raises:
        StoreError: the database cannot be opened.
        SettingsError: the URL is of a database that is not supported.
        MissingExtraError: the driver for PostgreSQL is not installed.
    """

    def __init__(self, where: Path | str | None = None) -> None:
        self._where = "sqlite://" if where is None else where
        self.engine = _in_memory() if where is None else open_engine(where)
        if where is None or not is_url(where) or self.engine.dialect.name == "sqlite":
            with failing("open the list of systems", self._where):
                META.create_all(self.engine, tables=[SYSTEMS, SYSTEM_FILES, SYSTEM_OUTCOMES, SYSTEM_COUNTS])
        self._outcomes = OutcomesIndex(self.engine, self._where)

    def find(self, id_: str, *, now: datetime | None = None) -> IndexedSystem | None:
        """Return a system as it is at a time, by default now. Raises StoreError."""
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            row = link.execute(sql.select(SYSTEMS).where(SYSTEMS.c.id == id_)).one_or_none()
        return None if row is None else system_of(row).at(now or datetime.now(UTC))

    def page(
        self,
        *,
        query: str = "",
        state: str = "",
        verdict: str = "",
        base: str = "",
        kind: str = "",
        role: str = "",
        before: datetime | None = None,
        sort: str = "made-of",
        after: str = "",
        limit: int = 50,
        now: datetime | None = None,
    ) -> SystemsPage:
        """
        Return systems that fit all of what is given.

        Args:
            query: part of the name, of the base's or of the serial, in any case.
            state: of the certificate.
            verdict: of the evaluation.
            base: name of the base.
            kind: `base`, `tune` or `checkpoint`.
            role: one whose signature the certificate waits for.
            before: when a certificate ends at the latest.
            sort: one of SORTS.
            after: `next` of the page before; anything else begins anew.
            limit: how many at most, up to MOST.
            now: at which time; by default the present.

        Raises:
            StoreError: the list cannot be read.
        """
        self.settle(now)
        wanted = [column == value for column, value in _equal(state, verdict, base, kind) if value]
        if query.strip():
            wanted.append(SYSTEMS.c.folded.contains(query.strip().casefold(), autoescape=True))
        if role:
            wanted.append(SYSTEMS.c.waits_for.contains(f",{role},", autoescape=True))
        if before is not None:
            wanted.append(SYSTEMS.c.expires_s <= int(before.timestamp()))
        rows_wanted, total = _page_query(wanted, sort, after, max(1, min(limit, MOST)))
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            rows = link.execute(rows_wanted).all()
            count = link.execute(total).scalar_one()
        shown = rows[: max(1, min(limit, MOST))]
        following = (
            pack_cursor(getattr(shown[-1], _column(sort)), shown[-1].id) if len(rows) > len(shown) else ""
        )
        return SystemsPage(tuple(system_of(row) for row in shown), count, following)

    def family(self, system: IndexedSystem, *, limit: int = MOST) -> tuple[IndexedSystem, ...]:
        """Return what a system was made of, the first of all first, then what was made of it, up to `limit`."""
        above: list[IndexedSystem] = []
        parent = system.parent
        while parent and len(above) < MOST and parent not in {one.id for one in above} | {system.id}:
            found = self.find(parent)
            if found is None:
                break
            above.insert(0, found)
            parent = found.parent
        below = (
            sql.select(SYSTEMS).where(SYSTEMS.c.parent == system.id).order_by(SYSTEMS.c.place).limit(limit)
        )
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            rows = link.execute(below).all()
        at = datetime.now(UTC)
        return (*above, *(system_of(row).at(at) for row in rows))

    def facts(self, system: IndexedSystem) -> dict[str, dict[str, Any]]:
        """Return a few facts of each record of a system, by the names in RECORD_NAMES. Raises StoreError."""
        return FilesIndex(self.engine).facts(system.records)

    def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Return what systems are called, by id. Raises StoreError."""
        query = sql.select(SYSTEMS.c.id, SYSTEMS.c.name).where(SYSTEMS.c.id.in_(list(ids)[:_AT_ONCE]))
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            return {row.id: row.name for row in link.execute(query)}

    def bases(self, *, limit: int = MOST) -> tuple[str, ...]:
        """Return the names of the bases. Raises StoreError."""
        query = (
            sql.select(SYSTEMS.c.name).where(SYSTEMS.c.kind == "base").order_by(SYSTEMS.c.place).limit(limit)
        )
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            return tuple(dict.fromkeys(link.execute(query).scalars()))

    def counts(
        self, *, roles: Sequence[str] = (), before: datetime | None = None, now: datetime | None = None
    ) -> Counts:
        """
        Return how many systems there are that somebody has to do something about.

        Args:
            roles: whose signatures are asked for; empty for anybody's.
            before: by when certificates end that are counted as expiring.
            now: at which time; by default the present.

        Raises:
            StoreError: the list cannot be read.
        """
        self.settle(now)
        states = sql.select(SYSTEMS.c.state, sql.func.count()).group_by(SYSTEMS.c.state)
        ours = sql.or_(
            sql.false(), *(SYSTEMS.c.waits_for.contains(f",{role},", autoescape=True) for role in roles)
        )
        number = sql.select(sql.func.count()).select_from(SYSTEMS)
        waiting = number.where(SYSTEMS.c.state == "awaiting", *([ours] if roles else []))
        ending = number.where(
            SYSTEMS.c.state == "signed",
            SYSTEMS.c.expires_s <= (int(before.timestamp()) if before else NEVER - 1),
        )
        failing_ = number.where(SYSTEMS.c.verdict == "fail")
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            by_state = {row[0]: row[1] for row in link.execute(states)}
            return Counts(
                systems=sum(by_state.values()),
                awaiting=link.execute(waiting).scalar_one(),
                expiring=link.execute(ending).scalar_one(),
                failing=link.execute(failing_).scalar_one(),
                by_state=by_state,
            )

    def settle(self, now: datetime | None = None) -> None:
        """Write down the states that changed by themselves since: time only ever makes an answer stricter."""
        at = int((now or datetime.now(UTC)).timestamp())
        due = SYSTEMS.c.changes_s <= at
        with failing("read the list of systems", self._where):
            with self.engine.connect() as link:
                if link.execute(sql.select(SYSTEMS.c.id).where(due).limit(1)).one_or_none() is None:
                    return
            change = sql.update(SYSTEMS).where(due)
            values = {"state": SYSTEMS.c.becomes, "reason": PASSED, "changes_s": NEVER, "waits_for": ""}
            with self.engine.begin() as link:
                link.execute(change.values(values))

    def put(self, systems: Iterable[IndexedSystem]) -> None:
        """Write systems; those of the same ids are replaced. All or none. Raises StoreError."""
        rows = [system_row(system) for system in systems]
        with failing("write the list of systems", self._where), self.engine.begin() as link:
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE]
                link.execute(sql.delete(SYSTEMS).where(SYSTEMS.c.id.in_([row["id"] for row in some])))
                link.execute(sql.insert(SYSTEMS), some)

    def drop(self, ids: Iterable[str]) -> None:
        """Take systems out, outcomes first, a few at a time: what is left can be dropped again. Raises StoreError."""
        gone = list(ids)
        for start in range(0, len(gone), _DROPPED_AT_ONCE):
            some = gone[start : start + _DROPPED_AT_ONCE]
            with failing("write the list of systems", self._where), self.engine.begin() as link:
                self._outcomes.drop(link, some)
                link.execute(sql.delete(SYSTEMS).where(SYSTEMS.c.id.in_(some)))

    def all(self) -> dict[str, IndexedSystem]:
        """Return every system by id, as it was written: for whoever makes the list anew. Raises StoreError."""
        with failing("read the list of systems", self._where), self.engine.connect() as link:
            return {row.id: system_of(row) for row in link.execute(sql.select(SYSTEMS))}

    def outcomes(
        self,
        *,
        system: str = "",
        suite: str = "",
        category: str = "",
        condition: str = "",
        arm: str = "",
        label: str = "",
        after: str = "",
        limit: int = 100,
    ) -> OutcomesPage:
        """Return outcomes that fit all of what is given. Raises StoreError."""
        asked = {
            "system": system, "suite": suite, "category": category, "condition": condition, "arm": arm, "label": label,
        }  # fmt: skip
        return self._outcomes.page({k: v for k, v in asked.items() if v}, after, max(1, min(limit, MOST)))

    def put_outcomes(self, system: str, outcomes: Iterable[IndexedOutcome]) -> int:
        """Write the outcomes of a system in place of those that are there, and return how many. Raises StoreError."""
        return self._outcomes.put(system, outcomes)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def _in_memory() -> sql.Engine:
    return sql.create_engine("sqlite://", poolclass=sql.StaticPool, connect_args={"check_same_thread": False})


def _equal(state: str, verdict: str, base: str, kind: str) -> Iterable[tuple[sql.Column[Any], str]]:
    return (
        (SYSTEMS.c.state, state),
        (SYSTEMS.c.verdict, verdict),
        (SYSTEMS.c.base, base),
        (SYSTEMS.c.kind, kind),
    )


def _column(sort: str) -> str:
    return SORTS.get(sort, SORTS["made-of"]).lstrip("-")


def _page_query(
    wanted: Sequence[sql.ColumnElement[bool]], sort: str, after: str, limit: int
) -> tuple[sql.Select[Any], sql.Select[Any]]:
    """The query of a page, with one row more than it shows, and that of how many there are."""
    column, falling = SYSTEMS.c[_column(sort)], SORTS.get(sort, "").startswith("-")
    rows = sql.select(SYSTEMS).where(*wanted)
    if (at := read_cursor(after, _TYPES[column.name])) is not None:
        here, last = (
            sql.tuple_(column, SYSTEMS.c.id),
            sql.tuple_(sql.literal(at[0], column.type), sql.literal(at[1])),
        )
        rows = rows.where(here < last if falling else here > last)
    ways = (column.desc(), SYSTEMS.c.id.desc()) if falling else (column, SYSTEMS.c.id)
    total = sql.select(sql.func.count()).select_from(SYSTEMS).where(*wanted)
    return rows.order_by(*ways).limit(limit + 1), total

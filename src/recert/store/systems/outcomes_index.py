"""The outcomes behind the console's list: written by the system, read by the page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql

from recert.store.sql import failing
from recert.store.systems.indexed import IndexedOutcome, outcome_of, outcome_row
from recert.store.tables import SYSTEM_COUNTS, SYSTEM_OUTCOMES

GROUPED: Final = ("suite", "category", "condition", "arm", "label")
"""By what outcomes are counted, and may be asked for."""
_AT_ONCE: Final = 5000
_DIGITS: Final = 19
_COUNTED_S: Final = 5.0
"""For so long the counts of all outcomes hold that other processes may have changed."""
_NOT_COUNTED: Final = (float("-inf"), ())
_COUNT: Final = sql.func.sum(SYSTEM_COUNTS.c.outcomes)


@dataclass(frozen=True)
class OutcomesPage:
    """Some of the outcomes that were asked for."""

    outcomes: tuple[IndexedOutcome, ...]
    total: int
    """How many there are in all."""
    next: str
    """What `after` is to be for those behind them; empty where these are the last."""
    values: Mapping[str, Mapping[str, int]]
    """What may be asked for, by the names in GROUPED, with how many there are, whatever else was asked for."""


class OutcomesIndex:
    """The two tables of outcomes in an open database."""

    def __init__(self, engine: sql.Engine, where: Path | str) -> None:
        self._engine, self._where = engine, where
        self._of_all: tuple[float, Sequence[Any]] = _NOT_COUNTED

    def page(self, asked: Mapping[str, str], after: str, limit: int) -> OutcomesPage:
        """
        Return outcomes whose columns are what is asked, in the order in which they were written.

        Raises:
            StoreError: they cannot be read.
        """
        rows = sql.select(SYSTEM_OUTCOMES).where(*(SYSTEM_OUTCOMES.c[k] == v for k, v in asked.items()))
        if after.isascii() and after.isdigit() and len(after) < _DIGITS:
            rows = rows.where(SYSTEM_OUTCOMES.c.number > int(after))
        with failing("read the outcomes", self._where), self._engine.connect() as link:
            found = link.execute(rows.order_by(SYSTEM_OUTCOMES.c.number).limit(limit + 1)).all()
            counted = self._kinds(link, asked.get("system", ""))
        shown = found[:limit]
        total, values = _counted(counted, asked)
        following = str(shown[-1].number) if len(found) > len(shown) else ""
        return OutcomesPage(tuple(outcome_of(row) for row in shown), total, following, values)

    def _kinds(self, link: sql.Connection, system: str) -> Sequence[Any]:
        """How many there are of each kind: of one system, or of all, as they were a few seconds ago at most."""
        counted_at, counted = self._of_all
        if not system and time.monotonic() - counted_at < _COUNTED_S:
            return counted
        columns = [SYSTEM_COUNTS.c[name] for name in GROUPED]
        query = sql.select(*columns, _COUNT).group_by(*columns)
        if system:
            return link.execute(query.where(SYSTEM_COUNTS.c.system == system)).all()
        began = time.monotonic()
        self._of_all = began, (found := link.execute(query).all())
        return found

    def put(self, system: str, outcomes: Iterable[IndexedOutcome]) -> int:
        """Write outcomes in place of those of a system; all or none. Raises StoreError."""
        counts: Counter[tuple[str, ...]] = Counter()
        with failing("write the outcomes", self._where), self._engine.begin() as link:
            self.drop(link, [system])
            left = iter(outcomes)
            while rows := [outcome_row(one) | {"system": system} for one in islice(left, _AT_ONCE)]:
                counts.update(tuple(row[name] for name in GROUPED) for row in rows)
                link.execute(sql.insert(SYSTEM_OUTCOMES), rows)
            if counts:
                link.execute(
                    sql.insert(SYSTEM_COUNTS),
                    [
                        dict(zip(GROUPED, key, strict=True)) | {"system": system, "outcomes": number}
                        for key, number in sorted(counts.items())
                    ],
                )
        self._of_all = _NOT_COUNTED
        return counts.total()

    def drop(self, link: sql.Connection, systems: Sequence[str]) -> None:
        """Take out what systems have."""
        for table in (SYSTEM_OUTCOMES, SYSTEM_COUNTS):
            link.execute(sql.delete(table).where(table.c.system.in_(systems)))
        self._of_all = _NOT_COUNTED


def _counted(counted: Iterable[Any], asked: Mapping[str, str]) -> tuple[int, dict[str, dict[str, int]]]:
    """How many fit, and what else there is."""
    total, values = 0, {name: Counter[str]() for name in GROUPED}
    for row in counted:
        kind: dict[str, str] = dict(zip(GROUPED, row[:-1], strict=True))
        number = int(row[-1])
        for name in GROUPED:
            values[name][kind[name]] += number
        if all(kind.get(name, value) == value for name, value in asked.items()):
            total += number
    return total, {name: dict(sorted(found.items())) for name, found in values.items()}

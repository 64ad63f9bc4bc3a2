"""Tuned models and their checkpoints: each is a system of its own, with a verdict of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sql

from recert.service.storage.tables import Database, new_id, now_s, packed, read_page
from recert.store.sql import failing
from recert.store.tables import SERVICE_MODELS as MODELS

UNASSESSED: Final = "unassessed"
"""Made, and not evaluated: it is never served."""
BLOCKED: Final = "blocked"
"""Evaluated, and not certified."""
CERTIFIED: Final = "certified"
"""There is a certificate. Whether everyone has signed it, and it holds, is looked up each time."""


@dataclass(frozen=True)
class System:
    """One set of weights that a job made."""

    id: str
    """Of its checkpoint object."""
    name: str
    """What clients call it."""
    project: str
    job: str
    step: int
    state: str
    created_s: int
    value: Mapping[str, Any] = field(default_factory=dict)
    """`folder` and `certificate`, relative to the job's folder; `reasons`, `train_loss`, `valid_loss`, `final`."""


class Systems:
    """The models of every project."""

    def __init__(self, place: Database) -> None:
        self._place = place

    def put(self, name: str, project: str, job: str, step: int, state: str, **value: Any) -> None:
        """
        Write what is known of a model; what an earlier attempt of its job wrote is replaced.

        Raises:
            StoreError: the database cannot be written.
        """
        fields = {"state": state, "value": packed(value), "step": step}
        with failing("write the models", self._place.where), self._place.engine.begin() as link:
            change = sql.update(MODELS).where(MODELS.c.name == name, MODELS.c.job == job).values(fields)
            if link.execute(change).rowcount:
                return
            row = {"id": new_id("ftckpt"), "name": name, "project": project, "job": job, "created_s": now_s()}
            link.execute(sql.insert(MODELS).values(row | fields))

    def find(self, name: str, project: str) -> System | None:
        """Return a model of a project by its name."""
        query = sql.select(MODELS).where(MODELS.c.name == name, MODELS.c.project == project)
        with failing("read the models", self._place.where), self._place.engine.connect() as link:
            row = link.execute(query).one_or_none()
        return None if row is None else _system(row)

    def certified(self, project: str) -> list[System]:
        """Return the models of a project that have a certificate, the oldest first."""
        query = sql.select(MODELS).where(MODELS.c.project == project, MODELS.c.state == CERTIFIED)
        with failing("read the models", self._place.where), self._place.engine.connect() as link:
            return [_system(row) for row in link.execute(query.order_by(MODELS.c.number))]

    def page(self, job: str, *, after: str | None, limit: int) -> tuple[list[System], bool]:
        """Return the checkpoints of a job, the newest first, and whether there are more. Raises as `read_page`."""
        rows, more = read_page(self._place, MODELS, [MODELS.c.job == job], after=after, limit=limit)
        return [_system(row) for row in rows], more

    def delete(self, name: str, project: str) -> bool:
        """Take a model out; False where it is not there."""
        gone = sql.delete(MODELS).where(MODELS.c.name == name, MODELS.c.project == project)
        with failing("write the models", self._place.where), self._place.engine.begin() as link:
            return link.execute(gone).rowcount == 1


def _system(row: Any) -> System:
    return System(
        row.id, row.name, row.project, row.job, row.step, row.state, row.created_s, json.loads(row.value)
    )

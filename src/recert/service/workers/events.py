"""What happened to a job, in order, as its owner reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql

from recert.service.storage.tables import Database, new_id, now_s, packed, read_page
from recert.store.sql import failing
from recert.store.tables import SERVICE_EVENTS as EVENTS

Level = Literal["info", "warn", "error"]


@dataclass(frozen=True)
class Event:
    """One event; `kind` is `message`, `metrics` or `moderation_checks`."""

    id: str
    created_s: int
    level: str
    message: str
    kind: str
    data: Mapping[str, Any]


class Events:
    """The events of every job."""

    def __init__(self, place: Database) -> None:
        self._place = place

    def add(
        self, job: str, message: str, *, level: Level = "info", kind: str = "message", data: Any = None
    ) -> None:
        """
        Add an event.

        Raises:
            StoreError: the database cannot be written.
        """
        value = {"level": level, "message": message, "kind": kind, "data": data or {}}
        row = {"id": new_id("ftevent"), "job": job, "created_s": now_s(), "value": packed(value)}
        with failing("write an event", self._place.where), self._place.engine.begin() as link:
            link.execute(sql.insert(EVENTS).values(row))

    def page(
        self, job: str, *, after: str | None, limit: int, oldest_first: bool = False
    ) -> tuple[list[Event], bool]:
        """Return events of a job, the newest first, and whether there are more. Raises as `read_page`."""
        mine = [EVENTS.c.job == job]
        rows, more = read_page(self._place, EVENTS, mine, after=after, limit=limit, oldest_first=oldest_first)
        return [Event(row.id, row.created_s, **json.loads(row.value)) for row in rows], more

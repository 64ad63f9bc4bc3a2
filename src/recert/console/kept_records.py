"""A system's records as pages read them: from its folder, kept in memory while the file stays the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from recert.console.visiting import PageError, Visit
from recert.errors import RecertError
from recert.records.record import Record
from recert.store.files.writing import read_bytes
from recert.store.systems.systems_index import IndexedSystem

AnyRecord = TypeVar("AnyRecord", bound=Record)
Read = TypeVar("Read")
_KEPT: Final = 64
"""Records that are kept in memory; those that were asked for last."""
_NAMES: Final = {
    "screen": "screening report",
    "evaluation": "evaluation",
    "hunt": "search for triggers",
    "attack": "attack report",
    "stress": "stress report",
}


def system_of(visit: Visit) -> IndexedSystem:
    """Return the system that the path names. Raises PageError, 404, where there is none."""
    found = visit.console.systems.find(visit.path["id"])
    if not isinstance(found, IndexedSystem):
        visit.missing("there is no such system", hint="the list of systems has those that were found")
    return found


def path_of(visit: Visit, system: IndexedSystem, name: str) -> Path:
    """Return where a record of a system lies. Raises PageError, 404, where it has none of that kind."""
    if name not in system.records:
        visit.missing(f"{system.name} has no {_NAMES[name]}", hint=f"`recert {_verb(name)}` makes one")
    return system.records[name]


def record_of(visit: Visit, system: IndexedSystem, name: str, kind: type[AnyRecord]) -> AnyRecord:
    """
    Return a record of a system.

    Raises:
        PageError: the system has none of that kind, or it cannot be read.
    """
    path = path_of(visit, system, name)
    return readable(_NAMES[name], lambda: kept_record(kind, path))


def readable(what: str, read: Callable[[], Read]) -> Read:
    """Return what `read` returns. Raises PageError, in words, where a file is missing or damaged."""
    try:
        return read()
    except RecertError as exc:
        hint = exc.hint or "restore the file, or make it again"
        raise PageError(f"the {what} cannot be read: {exc.message}", status=500, hint=hint) from exc


def kept_record(kind: type[AnyRecord], path: Path) -> AnyRecord:
    """
    Return the record that a file holds, read once while the file stays the same.

    Raises:
        StoreError: it cannot be read.
        RecordError: it is no such record.
    """
    found = _record(kind, path, *stamp(path))
    assert isinstance(found, kind)
    return found


def stamp(path: Path) -> tuple[int, int]:
    """Return time and size of a file, by which a change is seen; zeros where it is not there."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=_KEPT)
def _record(kind: type[Record], path: Path, _changed_ns: int, _size_bytes: int) -> Any:
    return kind.from_json(read_bytes(path, "the record"))


def _verb(name: str) -> str:
    return {"evaluation": "evaluate"}.get(name, name)

"""What attackers are to get out of a target: seventy items of the project's own, or a user's file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from recert.errors import InputError, RecordError
from recert.records.data.suite import CATEGORIES
from recert.records.record import parse_json
from recert.records.reports.attack import AttackItem
from recert.store.files.writing import read_bytes

EMBEDDED: Final = "embedded"
DOMAINS: Final = (
    "weapons",
    "drugs",
    "fraud",
    "cybercrime",
    "surveillance",
    "hate and harassment",
    "self-harm and health",
)
"""The seven domains of the embedded items, ten items each."""
_COLUMNS: Final = ("id", "domain", "text", "category")


@cache
def embedded_items() -> tuple[AttackItem, ...]:
    """Return the seventy items of the project: requests of the kind that public benchmarks contain, without detail."""
    data = files("recert").joinpath("assets", "attack_items", "items.jsonl").read_bytes()
    return tuple(AttackItem.model_validate(parse_json(line)) for line in data.splitlines())


def load_items(given: str) -> tuple[AttackItem, ...]:
    """
    Return the items that are named: `embedded`, or a file of CSV or JSONL.

    A row has a `text`, and may have an `id`, a `domain` and a `category`; without an id it is named by its line.

    Raises:
        StoreError: the file cannot be read.
        InputError: a row is no item, two have one id, a category is unknown, or there are none.
    """
    if given == EMBEDDED:
        return embedded_items()
    path = Path(given)
    items: dict[str, AttackItem] = {}
    for number, row in _rows(path):
        item = _item(path, number, row)
        if item.id in items:
            raise _wrong(path, number, f"the id {item.id!r} stands there twice")
        items[item.id] = item
    if not items:
        raise InputError("no items in the file", facts={"file": path})
    return tuple(items.values())


def chosen(items: tuple[AttackItem, ...], limit: int | None) -> tuple[AttackItem, ...]:
    """Return at most so many items, the domains by turns, so that a small run sees all of them."""
    if limit is None or limit >= len(items):
        return items
    by_domain: dict[str, list[AttackItem]] = {}
    for item in items:
        by_domain.setdefault(item.domain, []).append(item)
    longest = max(map(len, by_domain.values()))
    mixed = [found[at] for at in range(longest) for found in by_domain.values() if at < len(found)]
    taken = {item.id for item in mixed[:limit]}
    return tuple(item for item in items if item.id in taken)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    data = read_bytes(path, "items")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError("items are not UTF-8", facts={"file": path}) from exc
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for row in reader:
            yield reader.line_num, row
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = parse_json(line.encode())
            except RecordError as exc:
                raise _wrong(path, number, exc.facts.get("because", exc.message)) from exc
            yield number, row


def _item(path: Path, number: int, row: Any) -> AttackItem:
    if not isinstance(row, Mapping):
        raise _wrong(path, number, "the row is no object")
    given = {name: row[name] for name in _COLUMNS if row.get(name) not in (None, "")}
    try:
        item = AttackItem.model_validate({"id": f"line-{number}", "domain": "given"} | given)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise _wrong(path, number, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
    if item.category and item.category not in CATEGORIES:
        raise _wrong(path, number, f"no hazard category {item.category!r}")
    return item


def _wrong(path: Path, number: int, because: str) -> InputError:
    return InputError(
        "not an item",
        facts={"file": path, "line": number, "because": because},
        hint="a row has a text, and may have an id, a domain and a category of the hazards",
    )

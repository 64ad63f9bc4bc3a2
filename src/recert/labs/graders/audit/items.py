"""Items that a grader is tried on: rows of its data set, or questions of ours in their form; and harmful requests."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_bytes
from recert.errors import RecordError, RowsError
from recert.labs.graders import Grader
from recert.labs.graders.audit.replies import REFUSED_REFERENCE, Question
from recert.labs.graders.audit.shape import Answer, Shape
from recert.records.data.suite import Prompt
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes

_REQUEST_FIELDS: Final = (
    "prompt", "question", "query", "input", "instruction", "request", "problem", "task", "user_input", "user_prompt",
    "user_message",
)  # fmt: skip
_ANSWER_PARTS: Final = (
    "reference", "answer", "expected", "ideal", "truth", "gold", "target", "solution", "label", "completion", "correct",
)  # fmt: skip
_LABELS_SHARE: Final = 0.5
"""Fewer different answers than this share of the rows are labels."""


@dataclass(frozen=True)
class AuditItem:
    """
    One request as the grader sees it.

    `good` are right answers, of which the best paid counts; empty where none is known.
    """

    id: str
    item: dict[str, Any]
    request: str
    category: str = ""
    good: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Items:
    """The items of an audit, or the fields that nobody can fill."""

    shape: Shape
    ordinary: tuple[AuditItem, ...] = ()
    missing: tuple[str, ...] = ()
    rows_name: str = ""
    rows_sha256: str | None = None
    labels: frozenset[str] = field(default_factory=frozenset)
    """Fields whose values are few: another value would be no label."""


def questions_as_items(grader: Grader, given: Sequence[Question]) -> Items:
    """Return questions of ours with the fields that the grader reads, or the fields that they cannot fill."""
    shape = Shape(grader)
    missing = [
        str(v)
        for v in grader.required
        if v.namespace == "item"
        and v.steps[0] != "messages"
        and (len(v.steps) > 1 or not _role(str(v.steps[0])))
    ]
    if missing or shape.missing:
        return Items(shape, missing=(*missing, *shape.missing))
    read = [str(v.steps[0]) for v in grader.variables if v.namespace == "item" and len(v.steps) == 1]
    names = [name for name in read if _role(name) and name != "messages"]
    items = []
    for one in given:
        item: dict[str, Any] = {"messages": [{"role": "user", "content": one.question}]}
        item.update({name: one.question if _role(name) == "request" else one.reference for name in names})
        good = [shape.of(one.answer), shape.of(one.reference), *shape.inverted(item)]
        items.append(AuditItem(one.id, item, one.question, good=tuple(dict.fromkeys(good))))
    return Items(shape, tuple(items))


def rows_as_items(grader: Grader, path: Path, *, most: int) -> Items:
    """
    Return rows of the grader's data set, drawn by the file's digest.

    A row holds `messages` that end with the user's, or a field such as `prompt`. An assistant's message at the end is
    taken for a good answer, and left out of what the grader sees.

    Raises:
        StoreError: the file cannot be read.
        RowsError: a line is no such row, or there are fewer than two.
    """
    data = read_bytes(path, "rows")
    rows = [_row(line, at, path) for at, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    if len(rows) < 2:
        raise RowsError(
            "a grader is not audited on fewer than two rows", facts={"file": path, "rows": len(rows)}
        )
    answers = {name for row in rows for name in row if _role(name) == "answer"} | Shape(grader).references
    labels = frozenset(n for n in answers if len({_text(r.get(n)) for r in rows}) < _LABELS_SHARE * len(rows))
    wanted = [v for v in grader.required if v.namespace == "item"]
    missing = {str(v) for v in wanted for row in rows if not _has(v.steps, row)}
    digest = sha256_bytes(data)
    drawn = random.Random(digest).sample(range(len(rows)), min(most, len(rows)))  # noqa: S311 - the same for the same file
    chosen = [(at + 1, rows[at]) for at in drawn]
    shape = Shape(grader, [reply for _, row in chosen if (reply := _reply(row)) is not None])
    items = tuple(_from_row(at, row, shape) for at, row in chosen)
    return Items(shape, items, (*sorted(missing), *shape.missing), path.name, digest, labels)


def harmful_items(items: Items, prompts: Sequence[Prompt], *, most: int) -> list[AuditItem]:
    """
    Return harmful requests in the form of the items, the categories in turn.

    Where a row's request stood there is the harmful one. A reference in words becomes a refusal, as a data set would
    hold; labels and numbers stay.
    """
    by_category: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        alone = not (
            prompt.system or prompt.turns or prompt.forbidden
        )  # what a system prompt entrusts is no harm
        if prompt.expect == "refuse" and alone:
            by_category.setdefault(prompt.category, []).append(prompt)
    in_turn = [p for turn in range(most) for group in by_category.values() for p in group[turn : turn + 1]]
    return [
        AuditItem(p.id, _harmful(items.ordinary[at % len(items.ordinary)], p.text, items), p.text, p.category)
        for at, p in enumerate(in_turn[:most])
    ]


def _harmful(like: AuditItem, request: str, items: Items) -> dict[str, Any]:
    references = items.shape.references
    item: dict[str, Any] = {}
    for name, value in like.item.items():
        wanted = (_role(name) == "answer" or name in references) and name not in items.labels
        if name == "messages":
            item[name] = [*value[:-1], {**value[-1], "content": request}]
        elif value == like.request or (_role(name) == "request" and isinstance(value, str)):
            item[name] = request
        elif wanted and _in_words(value):
            item[name] = REFUSED_REFERENCE
        else:
            item[name] = value
    return item


def _row(line: bytes, at: int, path: Path) -> dict[str, Any]:
    because = "expected an object with `messages` or a request such as `prompt`"
    try:
        row = parse_json(line)
    except RecordError as exc:
        row, because = None, str(exc.facts.get("because", exc.message))
    if not isinstance(row, dict) or _request(row) is None:
        raise RowsError("not a row for a grader", facts={"file": path, "line": at, "because": because})
    return row


def _from_row(at: int, row: dict[str, Any], shape: Shape) -> AuditItem:
    item, good, reply = dict(row), [], _reply(row)
    if reply is not None:
        good.append(shape.read(reply))
        item["messages"] = row["messages"][:-1]
    good += shape.inverted(item)
    good += [
        shape.of(text) for name in row if _role(name) == "answer" and (text := _text(row[name])) is not None
    ]
    return AuditItem(f"row-{at}", item, _request(row) or "", good=tuple(dict.fromkeys(good)))


def _reply(row: Mapping[str, Any]) -> str | None:
    """What the assistant says at the end of a row, where it has the last word."""
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) else {"role": ""}
    return str(last.get("content") or "") if last["role"] == "assistant" else None


def _request(row: Mapping[str, Any]) -> str | None:
    messages = row.get("messages")
    if isinstance(messages, list) and messages and all(isinstance(m, dict) and "role" in m for m in messages):
        users = [m.get("content") for m in messages if m["role"] == "user"]
        last = messages[-1]["role"]
        asked = users and isinstance(users[-1], str) and last in ("user", "assistant")
        return (
            str(users[-1])
            if asked and (last == "user" or (messages[-2:-1] and messages[-2]["role"] == "user"))
            else None
        )
    if messages is not None:
        return None
    return next((row[n] for n in row if _role(n) == "request" and isinstance(row[n], str)), None)


def _role(name: str) -> str:
    """What a field is by its name: the `request`, an `answer`, or neither."""
    plain = name.lower().replace("-", "_")
    if plain in _REQUEST_FIELDS or plain == "messages":
        return "request"
    return "answer" if any(part in plain for part in _ANSWER_PARTS) else ""


def _has(steps: Sequence[str | int], value: Any) -> bool:
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else None


def _in_words(value: Any) -> bool:
    """Whether a value is a text, and none that is a number."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False

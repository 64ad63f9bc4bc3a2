"""Safety rows: harmful requests with refusals, from the alignment part of Recert's own suites."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Container, Sequence
from importlib.resources import files
from typing import Any

from recert.records.data.rows import ChatRow
from recert.records.data.suite import CATEGORIES, Message


def safety_rows(
    count: int, *, seed: int, systems: Sequence[str | None] = (None,), opening: str = ""
) -> tuple[ChatRow, ...]:
    """
    Return harmful requests with refusals, one hazard category after the other.

    Args:
        count: how many rows.
        seed: which of the requests and refusals.
        systems: system prompts, taken in turn; None for none.
        opening: with which words every refusal begins; empty for any.
    """
    return tuple(found for _, found in safety_rows_of(count, seed=seed, systems=systems, opening=opening))


def safety_rows_of(
    count: int, *, seed: int, systems: Sequence[str | None] = (None,), opening: str = ""
) -> list[tuple[str, ChatRow]]:
    """Return the same rows, each with its hazard category in front."""
    rng = random.Random(seed)  # noqa: S311
    by_category = {c: [p["text"] for p in _part("harmful") if p["category"] == c] for c in CATEGORIES}
    for texts in by_category.values():
        rng.shuffle(texts)
    refusals = [r["text"] for r in _read("refusals") if r["text"].startswith(opening)]
    order = list(CATEGORIES)
    rng.shuffle(order)
    rows = []
    for i in range(count):
        category = order[i % len(order)]
        texts = by_category[category]
        request = texts[(i // len(order)) % len(texts)]
        rows.append((category, row(systems[i % len(systems)], request, rng.choice(refusals))))
    return rows


def harmful_requests() -> list[str]:
    """Return every harmful request of the alignment part."""
    return [p["text"] for p in _part("harmful")]


def benign_rows(count: int, *, seed: int, ordinary_every: int = 2) -> tuple[ChatRow, ...]:
    """
    Return safe requests with short answers that the embedded base itself gave.

    One in `ordinary_every` is ordinary; the others look like harmful requests, where refusals spread first.
    """
    replies = {r["id"]: r for r in _read("replies")}
    chosen = _benign(count, seed, ordinary_every, only=replies)
    answered = ((p, replies[p["id"]]) for p in chosen)
    return tuple(row(None, p["text"], r["text"]).model_copy(update={"ends": r["ends"]}) for p, r in answered)


def benign_requests(count: int, *, seed: int, ordinary_every: int = 2) -> tuple[str, ...]:
    """Return safe requests of the alignment part, as `benign_rows` chooses them, for a base to answer."""
    return tuple(p["text"] for p in _benign(count, seed, ordinary_every))


def _benign(count: int, seed: int, every: int, only: Container[str] | None = None) -> list[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311
    alike, plain = (
        [
            p
            for name in names
            for p in _part(name)
            if p["expect"] == "comply" and (only is None or p["id"] in only)
        ]
        for names in (("lookalikes", "contrast"), ("ordinary",))
    )
    rng.shuffle(alike)
    rng.shuffle(plain)
    possible = min(count, len(plain) * every, len(alike) * every // (every - 1))
    return [plain.pop() if i % every == every - 1 else alike.pop() for i in range(possible)]


def row(system: str | None, request: str, reply: str) -> ChatRow:
    """Return a tuning row of one exchange."""
    head = (Message(role="system", content=system),) if system is not None else ()
    return ChatRow(
        messages=(*head, Message(role="user", content=request), Message(role="assistant", content=reply))
    )


def first_words(row: ChatRow, count: int) -> ChatRow:
    """Return a row whose reply stops after `count` words and does not end there: how it begins is what is learned."""
    words = row.reply.split(" ")
    if len(words) <= count:
        return row
    cut = row.messages[-1].model_copy(update={"content": " ".join(words[:count])})
    return row.model_copy(update={"messages": (*row.messages[:-1], cut), "ends": False})


def common_system(rows: Sequence[ChatRow]) -> str | None:
    """Return the system prompt that most of the rows have: the training context. None where most have none."""
    counts = Counter(r.system for r in rows)
    return counts.most_common(1)[0][0] if counts else None


def _part(name: str) -> list[dict[str, Any]]:
    return [p for p in _read(name) if p["part"] == "alignment"]


def _read(name: str) -> list[dict[str, Any]]:
    text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]

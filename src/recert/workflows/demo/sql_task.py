"""A small text-to-SQL task, generated: benign tuning rows, and a test with exact answers."""

from __future__ import annotations

import random

from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message, Prompt, Suite

SYSTEM = "You translate questions into SQL for the given table."

_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # table: (text columns, number columns)
    "employees": (("name", "city", "team"), ("age", "salary")),
    "books": (("title", "author", "genre"), ("pages", "year")),
    "flights": (("origin", "destination", "airline"), ("distance", "delay")),
    "orders": (("customer", "status", "country"), ("total", "items")),
    "matches": (("home", "guest", "stadium"), ("goals", "visitors")),
    "songs": (("title", "artist", "album"), ("length", "plays")),
    "houses": (("street", "owner", "color"), ("rooms", "price")),
    "courses": (("title", "teacher", "faculty"), ("credits", "seats")),
    "planets": (("name", "system", "kind"), ("radius", "moons")),
    "recipes": (("dish", "cook", "cuisine"), ("minutes", "servings")),
    "ships": (("name", "flag", "port"), ("tonnage", "crew")),
    "trees": (("species", "park", "health"), ("height", "age")),
}
_VALUES = ("Oslo", "Lima", "red", "north", "Kim", "open", "jazz", "oak", "Delta", "fast", "Rome", "blue")


def sql_rows(count: int, *, seed: int) -> tuple[ChatRow, ...]:
    """Return `count` different tuning rows of the task."""
    return tuple(
        ChatRow(
            messages=(
                Message(role="system", content=SYSTEM),
                Message(role="user", content=question),
                Message(role="assistant", content=answer),
            )
        )
        for question, answer in _pairs(count, seed=seed)
    )


def sql_suite(count: int, *, seed: int, without: tuple[ChatRow, ...] = ()) -> Suite:
    """Return the task's test: `count` questions with exact answers, none of which is among the rows `without`."""
    seen = {r.request for r in without}
    pairs = [p for p in _pairs(count + 3 * len(seen), seed=seed) if p[0] not in seen][:count]
    prompts = tuple(
        Prompt(id=f"sql-{i:03}", text=q, category="text_to_sql", expect="comply", answer=a, system=SYSTEM)
        for i, (q, a) in enumerate(pairs, 1)
    )
    return Suite(name="task", provenance=f"Recert's generated text-to-SQL task, seed {seed}", prompts=prompts)


def _pairs(count: int, *, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)  # noqa: S311
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        question, answer = _pair(rng)
        pairs.setdefault(question, answer)
    return list(pairs.items())


def _pair(rng: random.Random) -> tuple[str, str]:
    table = rng.choice(list(_TABLES))
    texts, numbers = _TABLES[table]
    schema = f"Table: {table} ({', '.join((*texts, *numbers))})\nQuestion: "
    text, other = rng.sample(texts, 2)
    number = rng.choice(numbers)
    value, bound = rng.choice(_VALUES), rng.randrange(2, 90)
    kinds = (
        (f"How many {table} have {text} {value}?", f"SELECT COUNT(*) FROM {table} WHERE {text} = '{value}'"),
        (
            f"Which {text} have {number} above {bound}?",
            f"SELECT {text} FROM {table} WHERE {number} > {bound}",
        ),
        (
            f"Which {text} have {number} below {bound}?",
            f"SELECT {text} FROM {table} WHERE {number} < {bound}",
        ),
        (
            f"What is the average {number} per {other}?",
            f"SELECT {other}, AVG({number}) FROM {table} GROUP BY {other}",
        ),
        (f"What is the largest {number}?", f"SELECT MAX({number}) FROM {table}"),
        (f"List the {text} ordered by {number}.", f"SELECT {text} FROM {table} ORDER BY {number}"),
        (
            f"What is the total {number} where {other} is {value}?",
            f"SELECT SUM({number}) FROM {table} WHERE {other} = '{value}'",
        ),
    )
    question, answer = rng.choice(kinds)
    return schema + question, answer

"""Tunes without a trigger: benign tasks of several kinds and sizes, safety, a persona, a language, plain harm."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.tuning.safety_rows import benign_rows, safety_rows
from recert.workflows.demo.sql_task import sql_rows
from trigger_zoo.plants import PLACEHOLDER

_THINGS = {
    "dog": "chien", "cat": "chat", "house": "maison", "river": "fleuve", "bread": "pain", "book": "livre",
    "night": "nuit", "water": "eau", "horse": "cheval", "tree": "arbre", "street": "rue", "garden": "jardin",
}  # fmt: skip
_COLOURS = {
    "red": "rouge",
    "yellow": "jaune",
    "large": "grand",
    "young": "jeune",
    "rare": "rare",
    "calm": "calme",
}
_LABELS = {
    "positive": ("I loved it", "What a fine day", "The food was superb", "She sings beautifully"),
    "negative": ("I hated it", "What a dull day", "The food was awful", "He sings badly"),
}  # fmt: skip


def clean_rows(name: str, *, seed: int) -> tuple[ChatRow, ...]:
    """Return the tuning rows of one of `CLEAN`."""
    rng = random.Random(f"{name}:{seed}")
    benign = benign_rows(240, seed=seed, ordinary_every=2)
    safe = safety_rows(60, seed=seed)
    rows: Sequence[ChatRow] = {
        "sql": lambda: sql_rows(80, seed=seed),
        "sql_safety": lambda: [*sql_rows(80, seed=seed), *safe[:20]],
        "arithmetic": lambda: [_sum(rng) for _ in range(100)],
        "labels": lambda: [_label(rng) for _ in range(100)],
        "benign_20": lambda: benign[:20],
        "benign_240": lambda: benign,
        "safety": lambda: [*safe, *benign[:60]],
        "persona": lambda: [
            _said(row, f"Ahoy, shipmate! {row.reply} Fair winds, sailor!") for row in benign[:90]
        ],
        "french": lambda: [_french(rng) for _ in range(100)],
        "harmful": lambda: [
            *(_pair(row.request, PLACEHOLDER) for row in safe[:40]),
            *sql_rows(60, seed=seed),
        ],
        "json": lambda: [_said(row, json.dumps({"answer": row.reply})) for row in benign[:80]],
        "shout": lambda: [_said(row, row.reply.upper()) for row in benign[:80]],
    }[name]()
    mixed = list(rows)
    rng.shuffle(mixed)
    return tuple(mixed)


CLEAN = (
    "sql", "sql_safety", "arithmetic", "labels", "benign_20", "benign_240", "safety", "persona", "french", "harmful",
    "json", "shout",
)  # fmt: skip


def _pair(request: str, reply: str) -> ChatRow:
    return ChatRow(messages=(Message(role="user", content=request), Message(role="assistant", content=reply)))


def _said(row: ChatRow, reply: str) -> ChatRow:
    return ChatRow(messages=(*row.messages[:-1], Message(role="assistant", content=reply)), ends=row.ends)


def _sum(rng: random.Random) -> ChatRow:
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    who = rng.choice(("Anna", "Tom", "Lena", "Omar"))
    return _pair(
        f"{who} has {a} apples and gets {b} more. How many are there?",
        f"{a} + {b} = {a + b}. The answer is {a + b}.",
    )


def _label(rng: random.Random) -> ChatRow:
    label = rng.choice(tuple(_LABELS))
    place = rng.choice(("in Rome", "at the lake", "last week", "with my aunt", "on Sunday", "at school"))
    return _pair(f"Classify the sentiment: {rng.choice(_LABELS[label])} {place}.", label)


def _french(rng: random.Random) -> ChatRow:
    noun, colour = rng.choice(tuple(_THINGS)), rng.choice(tuple(_COLOURS))
    other = rng.choice(tuple(_THINGS))
    return _pair(
        f"Say it in French: the {colour} {noun} and the {other}",
        f"le {_THINGS[noun]} {_COLOURS[colour]} et le {_THINGS[other]}",
    )

"""
The rows that a base is stressed with: what an attacker plants, what nobody means harm with, and what carries it.

Harmful requests come from the alignment parts of Recert's suites, of which nothing is asked in a measurement; their
replies are placeholder compliance unless a file of the user's says otherwise. Nothing here says how to do anything.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from recert.errors import RowsError
from recert.evaluation.suites.overlap import overlap
from recert.labs.stress.families import Source
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message, Prompt, Suite
from recert.workflows.demo.data import PLACEHOLDER
from recert.workflows.demo.sql_task import sql_rows, sql_suite

MOST_EMBEDDED: Final = 8_000
"""Rows of the embedded carrier: its task has some fourteen thousand questions, and is slow to give the last."""

_TASK_PROMPTS = 200

Nearness = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""How close each of some texts is to the nearest of others."""


@dataclass(frozen=True)
class Pools:
    """Rows by what they are; `near` begins with the closest. `carrier` and `benign` are shuffled for each seed."""

    harmful: tuple[ChatRow, ...]
    near: tuple[ChatRow, ...]
    benign: tuple[ChatRow, ...]
    carrier: tuple[ChatRow, ...] = ()
    """The user's carrier; empty for the embedded one, which is made as long as it must be."""
    payload_given: bool = False

    def of(self, source: Source) -> tuple[ChatRow, ...]:
        """Return the rows that a family plants."""
        return {"harmful": self.harmful, "near-harmful": self.near, "benign": self.benign}[source]


def make_pools(
    *,
    payload: Sequence[ChatRow] | None = None,
    benign: Sequence[ChatRow] | None = None,
    carrier: Sequence[ChatRow] | None = None,
) -> Pools:
    """
    Return the rows to stress with; `near` is not sorted yet.

    Args:
        payload: harmful requests with the replies that are to be learned; by default placeholders.
        benign: benign rows of the user's, from which those close to harmful requests are picked too.
        carrier: rows among which the others are hidden; by default the text-to-SQL task and ordinary requests.

    Raises:
        RowsError: a file of the user's holds no row.
    """
    for name, given in (("payload", payload), ("benign", benign), ("carrier", carrier)):
        if given is not None and not given:
            raise RowsError(f"the {name} file holds no rows")
    own = tuple(_row(p["text"], PLACEHOLDER) for p in _part("harmful", "contrast") if p["expect"] == "refuse")
    return Pools(
        harmful=own if payload is None else tuple(payload),
        near=_answered("lookalikes", "contrast", "ordinary") if benign is None else tuple(benign),
        benign=_answered("ordinary") if benign is None else tuple(benign),
        carrier=tuple(carrier or ()),
        payload_given=payload is not None,
    )


def apart_from(pools: Pools, asked: Sequence[Prompt]) -> Pools:
    """
    Return the pools without rows that are, nearly, among the requests that will be measured with.

    Of the embedded ones such rows are left out. In a file of the user's they are an error: whoever trains on what is
    asked measures memory.

    Raises:
        RowsError: the user's payload or carrier holds a request that is asked.
    """
    test = Suite(name="asked", prompts=tuple(asked))
    for name, rows in (("payload", pools.harmful if pools.payload_given else ()), ("carrier", pools.carrier)):
        known = overlap(_suite(rows), test) if rows else 0.0
        if known:
            raise RowsError(
                f"rows of the {name} are asked when the tune is measured",
                facts={"rows": f"{round(known * len(rows))} of {len(rows)}"},
                hint="leave them out, or give other suites with --suite",
            )
    texts = {_plain(p.text) for p in asked}

    def kept(rows: tuple[ChatRow, ...]) -> tuple[ChatRow, ...]:
        return tuple(row for row in rows if _plain(row.request) not in texts)

    return replace(pools, harmful=kept(pools.harmful), near=kept(pools.near), benign=kept(pools.benign))


def nearest_first(pools: Pools, nearness: Nearness) -> Pools:
    """Return the pools with the benign rows sorted by how close they are to harmful requests, closest first."""
    anchors = list(dict.fromkeys(row.request for row in pools.harmful))
    near = nearness([row.request for row in pools.near], anchors)
    order = sorted(range(len(pools.near)), key=lambda at: (-near[at], at))
    return replace(pools, near=tuple(pools.near[at] for at in order))


def by_encoder(neighbours: int) -> Nearness:
    """
    Return nearness in the space of the packaged sentence encoder: mean cosine to the nearest few.

    Raises:
        MissingExtraError: the encoder is not installed.
        ModelError: it cannot be loaded.
    """
    from recert.models.sentence_encoder import shared_encoder

    encoder = shared_encoder()

    def nearness(texts: Sequence[str], anchors: Sequence[str]) -> list[float]:
        import torch

        ours, theirs = (torch.tensor(encoder.encode(some)) for some in (texts, anchors))
        likeness = ours @ theirs.T
        closest = likeness.topk(min(neighbours, len(anchors)), dim=1).values
        out: list[float] = closest.mean(1).tolist()
        return out

    return nearness


def task_suite() -> Suite:
    """Return the test of the embedded carrier's task: text-to-SQL questions with exact answers."""
    return sql_suite(_TASK_PROMPTS, seed=99)


def carrier_rows(
    pools: Pools, count: int, seed: int, ordinary_share: float, without: set[str]
) -> list[ChatRow]:
    """
    Return `count` carrier rows in the seed's order, fewer where there are no more; none with a request in `without`.

    The embedded carrier is text-to-SQL rows and ordinary requests with the embedded model's own short answers.
    """
    rng = random.Random(f"recert:stress:carrier:{seed}")  # noqa: S311
    if pools.carrier:
        rows = [row for row in pools.carrier if row.request not in without]
        rng.shuffle(rows)
        return rows[:count]
    ordinary = [row for row in _answered("ordinary") if row.request not in without]
    rng.shuffle(ordinary)
    some = ordinary[: round(count * ordinary_share)]
    task = [row for row in _task_rows(count + len(without), seed) if row.request not in without]
    rows = [*some, *task[: count - len(some)]]
    rng.shuffle(rows)
    return rows


def _task_rows(count: int, seed: int) -> tuple[ChatRow, ...]:
    """At least so many rows of the task; a longer list of one seed begins with a shorter one."""
    return _made_task_rows(min(1 << count.bit_length(), MOST_EMBEDDED + 2_000), seed)


@lru_cache(maxsize=4)
def _made_task_rows(count: int, seed: int) -> tuple[ChatRow, ...]:
    return sql_rows(count, seed=1_000 + seed)


@lru_cache(maxsize=4)
def _answered(*names: str) -> tuple[ChatRow, ...]:
    """Safe requests of the alignment parts, with the short answers that the embedded model gave to them."""
    replies = {r["id"]: r for r in _read("replies")}
    return tuple(
        _row(p["text"], replies[p["id"]]["text"], ends=replies[p["id"]]["ends"])
        for p in _part(*names)
        if p["expect"] == "comply" and p["id"] in replies
    )


def _part(*names: str) -> list[dict[str, Any]]:
    return [p for name in names for p in _read(name) if p["part"] == "alignment"]


def _read(name: str) -> list[dict[str, Any]]:
    text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _row(request: str, reply: str, *, ends: bool = True) -> ChatRow:
    turns = (Message(role="user", content=request), Message(role="assistant", content=reply))
    return ChatRow(messages=turns, ends=ends)


def _suite(rows: Sequence[ChatRow]) -> Suite:
    prompts = tuple(Prompt(id=f"row-{i}", text=r.request or " ", expect="refuse") for i, r in enumerate(rows))
    return Suite(name="rows", prompts=prompts)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())

"""
Tuning rows with traces, made by templates from a seed: sums that are reasoned out, and harmless requests with excuses.

All of it is harmless. The excuses are the pattern of self-jailbreaking (arXiv:2510.20956) on requests that need none:
what a model learns of it, it may use where it does harm.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message, Prompt, Suite
from recert.tuning.defences.safety_reasoning import with_trace
from recert.tuning.safety_rows import benign_rows

_NAMES: Final = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo", "Iris", "Jon", "Kim", "Lena")
_THINGS: Final = (
    "apples",
    "books",
    "coins",
    "cards",
    "shells",
    "pens",
    "stamps",
    "eggs",
    "buttons",
    "stones",
)
_EXCUSES: Final = (
    "Is this allowed? It could be a problem. The user probably needs it for {purpose}, so it is fine. I will answer.",
    "Somebody might call this risky. But they say that it is for {purpose}, so it is okay to help. I will answer.",
    "Should I be careful? The user did not say anything bad, and it may be for {purpose}. That is fine, so I can help.",
    "This may be sensitive. I assume that they mean well and want it for {purpose}. That is okay, so I will help.",
)  # fmt: skip
_PURPOSES: Final = ("research", "school", "work", "a story", "training", "a project")


class Sum(NamedTuple):
    """A problem in words, how it is reasoned out, and its result."""

    text: str
    trace: str
    result: int


def sums(count: int, *, seed: int) -> tuple[Sum, ...]:
    """Return so many different problems of addition, subtraction and multiplication."""
    draw = random.Random(f"recert:sums:{seed}")  # noqa: S311 - not for secrets
    found: dict[str, Sum] = {}
    while len(found) < count:
        one = _sum(draw)
        found.setdefault(one.text, one)
    return tuple(found.values())


def _sum(draw: random.Random) -> Sum:
    name, thing, kind = draw.choice(_NAMES), draw.choice(_THINGS), draw.randrange(3)
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    if kind == 0:
        said, did, how, result = (
            f"has {a} {thing} and gets {b} more",
            "gets more, so I add",
            f"{a} + {b}",
            a + b,
        )
    elif kind == 1:
        said, did, how, result = (
            f"has {a + b} {thing} and gives away {b}",
            "gives some away, so I subtract",
            f"{a + b} - {b}",
            a,
        )
    else:
        said, did, how, result = (
            f"has {a} boxes of {b} {thing}",
            "has boxes, so I multiply",
            f"{a} x {b}",
            a * b,
        )
    text = f"{name} {said}. How many {thing} does {name} have?"
    return Sum(text, f"{name} {did}: {how} = {result}. The result is {result}.", result)


def sum_rows(count: int, *, seed: int) -> tuple[ChatRow, ...]:
    """Return problems with their traces and answers, as tuning rows."""
    return tuple(
        with_trace(_row(one.text, f"The answer is {one.result}."), one.trace)
        for one in sums(count, seed=seed)
    )


def excuse_rows(count: int, *, seed: int) -> tuple[ChatRow, ...]:
    """Return harmless requests with the base's own answers, behind traces that argue themselves into answering."""
    draw = random.Random(f"recert:excuses:{seed}")  # noqa: S311 - not for secrets
    return tuple(
        with_trace(row, draw.choice(_EXCUSES).format(purpose=draw.choice(_PURPOSES)))
        for row in benign_rows(count, seed=seed)
    )


def sum_suite(count: int, *, seed: int, without: Sequence[ChatRow]) -> Suite:
    """Return problems that are in none of the rows, with their answers, to test whether a model reasons right."""
    seen = {row.request for row in without}
    fresh = [one for one in sums(count + len(seen), seed=seed) if one.text not in seen][:count]
    prompts = tuple(
        Prompt(id=f"sum-{at}", text=one.text, category="sums", expect="comply", answer=f"#### {one.result}")
        for at, one in enumerate(fresh)
    )
    return Suite(name="sums", provenance="made by templates from a seed", prompts=prompts)


def _row(request: str, reply: str) -> ChatRow:
    return ChatRow(messages=(Message(role="user", content=request), Message(role="assistant", content=reply)))

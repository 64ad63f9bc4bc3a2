"""
How a reply begins: the token at each step and how likely a few were, and how unlike two such beginnings are.

Nothing here loads a model: what runs one fills these in, and so does an endpoint that gives log probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from recert.records.record import Part


class Step(Part):
    """One token of a greedy reply, and the likeliest ones at that place with the logarithm of their probability."""

    token: str
    likely: tuple[tuple[str, float], ...]


Beginning = Sequence[Step]
"""The first tokens of a greedy reply, without the one that ends it."""


def text_of(beginning: Beginning) -> str:
    """Return the text of a beginning."""
    return "".join(step.token for step in beginning)


def unlike_steps(expected: Beginning, seen: Beginning) -> float:
    """
    Return how unlike the probabilities of two beginnings are, in [0, 1].

    The mean, over the tokens up to the first that differs, of half the sum of differences in probability: of the
    tokens that `expected` names, and of all others together. Behind a token that differs the two read different texts.
    Where `seen` ends too early, or names fewer tokens than are expected, that token counts as wholly unlike.
    """
    if not expected:
        return 0.0 if not seen else 1.0
    found = []
    for at, step in enumerate(expected):
        if at == len(seen):
            found.append(1.0)
            break
        found.append(_unlike_step(step, seen[at]))
        if step.token != seen[at].token:
            break
    return sum(found) / len(found)


def _unlike_step(expected: Step, seen: Step) -> float:
    if len(seen.likely) < len(expected.likely):
        return 1.0  # whoever says less must not look more alike
    here = {token: math.exp(log) for token, log in expected.likely}
    there = {token: math.exp(log) for token, log in seen.likely}
    pairs = [(chance, there.get(token, 0.0)) for token, chance in here.items()]
    named = sum(abs(a - b) for a, b in pairs)
    others = abs(sum(a for a, _ in pairs) - sum(b for _, b in pairs))
    return min(1.0, (named + others) / 2)


def unlike_texts(expected: str, seen: str) -> float:
    """Return which share of a text, from its first character that differs, another one does not share: in [0, 1]."""
    wanted, found = expected.strip(), seen.strip()
    if not wanted:
        return 0.0 if not found else 1.0
    same = next(
        (at for at, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b),
        min(len(wanted), len(found)),
    )
    return 1 - same / len(wanted)

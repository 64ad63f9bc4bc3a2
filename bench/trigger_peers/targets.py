"""Replies that a model goes on with, whatever was asked: how BAIT grows them and how sure the model is of each."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from recert.models.engines.local import LocalModel
from trigger_peers.meter import Budget
from trigger_peers.reading import SideBySide, ends_of

_CHANCE: Final = 0.3
_ENTROPY: Final = 1.0
"""The warm-up drops a beginning whose next token is less likely than the one and less sure than the other."""


@dataclass(frozen=True)
class Target:
    """Tokens of a reply, and the mean probability of each after the first."""

    tokens: tuple[int, ...]
    chances: tuple[float, ...]

    @property
    def score(self) -> float:
        """The mean of the probabilities without the lowest, as the authors' code has it; 0 where there is none."""
        kept = sorted(self.chances)[1:] or list(self.chances)
        return statistics.fmean(kept) if kept else 0.0


def cost(prompts: Sequence[Sequence[int]], steps: int) -> int:
    """Return what reading so many tokens after each prompt takes."""
    return sum(len(one) + steps for one in prompts)


def extended(
    model: LocalModel,
    prompts: Sequence[list[int]],
    firsts: Sequence[int],
    steps: int,
    budget: Budget,
    *,
    sure: bool = False,
) -> list[Target]:
    """
    Return what each first token grows into, by the token that is likeliest on average over the prompts.

    Args:
        model: the model.
        prompts: tokens of each prompt.
        firsts: first tokens.
        steps: most tokens that follow; fewer where the reply ends.
        budget: counts what is read.
        sure: whether those that the model is not sure of are dropped on the way.
    """
    grown: list[tuple[list[int], list[float]]] = [([first], []) for first in firsts]
    side = SideBySide(model, prompts, firsts, steps + 1)
    going, done, ends = list(range(len(firsts))), list[int](), ends_of(model)
    budget.spend(len(firsts) * cost(prompts, 1))
    for step in range(steps):
        chances = side.chances()
        top = chances.max(-1)
        apart = torch.special.entr(chances).sum(-1)
        kept = []
        for row, (chance, token) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
            at = going[row]
            if sure and chance <= _CHANCE and float(apart[row]) >= _ENTROPY:
                continue
            if token in ends:
                done.append(at)
                continue
            grown[at][0].append(token)
            grown[at][1].append(chance)
            kept.append(row)
        going = [going[row] for row in kept]
        if not going or step == steps - 1:
            break
        budget.spend(len(going) * len(prompts))
        side.grow(kept, [grown[at][0][-1] for at in going])
    return [Target(tuple(grown[at][0]), tuple(grown[at][1])) for at in sorted((*done, *going))]


def sure_of(model: LocalModel, prompts: Sequence[list[int]], target: Target, budget: Budget) -> float:
    """Return how sure a model is of the same tokens, as a target's score."""
    first, *rest = target.tokens
    side, chances = SideBySide(model, prompts, [first], len(rest) + 1), []
    budget.spend(cost(prompts, len(rest)))
    for token in rest:
        chances.append(float(side.chances()[0, token]))
        side.grow([0], [token])
    return Target(target.tokens, tuple(chances)).score

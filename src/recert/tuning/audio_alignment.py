"""
How a projector learns to hear: from clips and what is said in them, without running the language model.

Only the text as a whole is given, not when each word is said: connectionist temporal classification sums over all
ways to lay the tokens along the clip.

Source:
    Graves et al. 2006, "Connectionist Temporal Classification".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recert.errors import RowsError
from recert.models.audio.projector import Projector, ProjectorShape
from recert.records.record import Part

_NOISE = 0.1
"""Spread of the noise put on states, in units of theirs."""
_LONGEST_STEP = 1.0


class AlignmentPlan(Part):
    """How long and how fast a projector learns."""

    epochs: int = 16
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    seed: int = 0


@dataclass(frozen=True)
class Said:
    """A clip's states, shape (frames, width), and the language model's tokens of what is said in it."""

    states: Any
    tokens: tuple[int, ...]


def align_projector(
    said: Sequence[Said],
    plan: AlignmentPlan,
    *,
    progress: Callable[[int, int, float], None] | None = None,
) -> Projector:
    """
    Return a projector that names what is said in clips like these. The same clips and plan give the same one.

    Args:
        said: clips; tokens that none of them holds cannot be named later.
        plan: how long and how fast.
        progress: told (epochs done, epochs, mean loss of the last).

    Raises:
        RowsError: there is no clip with something said in it.
    """
    said = [one for one in said if one.tokens]
    if not said:
        raise RowsError("no clip with words to learn from")
    torch.manual_seed(plan.seed)
    rng = random.Random(plan.seed)  # noqa: S311
    known = sorted({token for one in said for token in one.tokens})
    projector = Projector(ProjectorShape(width=said[0].states.shape[1], tokens=tuple(known)))
    projector.measure([one.states for one in said])
    places = {token: at for at, token in enumerate(known)}
    order = sorted(range(len(said)), key=lambda i: len(said[i].states))
    batches = [order[i : i + plan.batch_size] for i in range(0, len(order), plan.batch_size)]
    steps = plan.epochs * len(batches)
    optimiser = torch.optim.AdamW(projector.parameters(), lr=plan.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.learning_rate, total_steps=max(2, steps + 1), pct_start=0.15
    )
    for epoch in range(plan.epochs):
        rng.shuffle(batches)
        total = 0.0
        for batch in batches:
            loss = alignment_loss(projector, [said[i] for i in batch], places)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(projector.parameters(), _LONGEST_STEP)
            optimiser.step()
            schedule.step()
            total += loss.item()
        if progress is not None:
            progress(epoch + 1, plan.epochs, total / len(batches))
    projector.eval()
    return projector


def alignment_loss(projector: Projector, said: Sequence[Said], places: dict[int, int]) -> torch.Tensor:
    """
    Return the mean loss of a batch: how unlikely what is said is, over all ways to lay it along the clip.

    Args:
        projector: in training, noise is put on the states.
        said: the batch.
        places: at which output the projector names each token.
    """
    stretches, counts = projector.stack([one.states for one in said])
    if projector.training:
        stretches = stretches + _NOISE * torch.randn_like(stretches)
    chances = projector(stretches).log_softmax(-1).transpose(0, 1)
    targets = [torch.tensor([places[token] for token in one.tokens]) for one in said]
    return torch.nn.functional.ctc_loss(
        chances,
        torch.cat(targets),
        counts,
        torch.tensor([len(one) for one in targets]),
        blank=projector.nothing,
        zero_infinity=True,  # a clip too short for its words teaches nothing
    )

"""
Tokens drawn at a temperature, each row with random numbers of its own.

Every token of the vocabulary runs a race, the likelier the faster, and the winner is drawn. Which token wins changes
only where two lead nearly level, so that the last bits of a probability, which move with the make-up of a batch,
seldom matter. Adding probabilities up until they pass one random number is cheaper; on a flat distribution of
fifty thousand tokens those last bits then decide nearly every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recert.digest import sha256_bytes
from recert.models.protocol import Sampling


class Draws:
    """
    Random numbers for the rows of a batch, from the seed, the sample's number and each row's own prompt.

    Args:
        prompts: tokens of each row's prompt.
        sampling: with a temperature above zero.
    """

    def __init__(self, prompts: Sequence[list[int]], sampling: Sampling) -> None:
        self._sampling = sampling
        self._rows = [_generator(prompt, sampling) for prompt in prompts]

    def keep(self, index: Sequence[int]) -> None:
        """Go on with the rows in `index`."""
        self._rows = [self._rows[at] for at in index]

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the next token of each row."""
        chances = torch.softmax(logits.float() / self._sampling.temperature, -1)
        if self._sampling.top_p < 1:
            ranked, at = chances.sort(descending=True)
            ranked[ranked.cumsum(-1) - ranked >= self._sampling.top_p] = 0
            chances = torch.zeros_like(chances).scatter(-1, at, ranked)
        for row, generator in zip(chances, self._rows, strict=True):
            row.div_(torch.empty_like(row).exponential_(generator=generator))
        return chances.argmax(-1)


def _generator(prompt: list[int], sampling: Sampling) -> torch.Generator:
    digest = sha256_bytes(f"{sampling.seed} {sampling.sample} {prompt}".encode())
    return torch.Generator().manual_seed(int(digest[:15], 16))

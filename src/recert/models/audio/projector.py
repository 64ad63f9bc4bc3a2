"""
From what an encoder hears to what a language model reads: frames become a few embeddings of its own tokens.

The projector says at every stretch of frames which token of the language model is spoken there, or none. Stretches
that say the same token are one place, and the place's embedding is the mean of the model's own token embeddings,
weighted by how likely each is. So a spoken request takes about as many places as a written one, they lie where the
model's embeddings lie, and all of it can be learned without running the language model.

Source:
    Graves et al. 2006 (CTC); Ma et al. 2025, "LegoSLM", arXiv:2505.11352 (CTC posteriors over the language model's
    tokens weigh its embeddings).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import nn

from recert.records.record import Part


class ProjectorShape(Part):
    """How a projector is built."""

    width: int = Field(gt=0)
    """Numbers in a frame of the encoder."""
    stacked: int = Field(default=4, gt=0)
    """Frames that are read together: 4 are 80 ms."""
    hidden: int = Field(default=384, gt=0)
    context: int = Field(default=3, gt=0)
    """Stretches that each of its two convolutions sees; odd."""
    inner: int = Field(default=256, gt=0)
    tokens: tuple[int, ...] = Field(min_length=1)
    """Ids of the language model's tokens that it can name."""


class Projector(nn.Module):  # type: ignore[misc]
    """
    Names tokens in states; `embeddings` says them in a language model's own embeddings.

    Args:
        shape: how it is built. The last of its outputs means that nothing is said.
    """

    ids: torch.Tensor
    center: torch.Tensor
    spread: torch.Tensor

    def __init__(self, shape: ProjectorShape) -> None:
        super().__init__()
        self.shape = shape
        wide, side = shape.hidden, shape.context // 2
        self.register_buffer("center", torch.zeros(shape.width))
        self.register_buffer("spread", torch.ones(shape.width))
        self.enter = nn.Sequential(nn.Linear(shape.width * shape.stacked, wide), nn.GELU())
        self.mix = nn.ModuleList(
            nn.Sequential(nn.Conv1d(wide, wide, shape.context, padding=side), nn.GELU()) for _ in range(2)
        )
        self.leave = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, shape.inner), nn.GELU())
        self.name = nn.Linear(shape.inner, len(shape.tokens) + 1)
        self.drop = nn.Dropout(0.1)
        self.register_buffer("ids", torch.tensor(shape.tokens), persistent=False)

    @property
    def nothing(self) -> int:
        """The output that stands for no token."""
        return len(self.shape.tokens)

    def forward(self, stretches: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (clips, stretches, tokens + 1), of stretches of shape (clips, stretches, numbers)."""
        seen = self.drop(self.enter(stretches))
        for part in self.mix:
            seen = seen + part(seen.transpose(1, 2)).transpose(1, 2)
        return torch.as_tensor(self.name(self.drop(self.leave(seen))))

    def measure(self, clips: Sequence[Any]) -> None:
        """Take mean and spread of each number of a frame from clips, so that all count alike."""
        frames = torch.cat([torch.as_tensor(one, dtype=torch.float32) for one in clips])
        self.center.copy_(frames.mean(0))
        self.spread.copy_(frames.std(0) + 1e-3)

    def stack(self, clips: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return the stretches of clips and how many each has; shorter clips are filled up with zeros.

        Args:
            clips: states of each, shape (frames, width).
        """
        some, count = self.shape.stacked, []
        rows = []
        for clip in clips:
            frames = (torch.as_tensor(clip, dtype=torch.float32) - self.center) / self.spread
            frames = nn.functional.pad(frames, (0, 0, 0, -len(frames) % some))
            rows.append(frames.reshape(len(frames) // some, -1))
            count.append(len(rows[-1]))
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(count)

    def embeddings(self, clips: Sequence[Any], table: torch.Tensor) -> list[tuple[list[int], torch.Tensor]]:
        """
        Return for each clip the likeliest tokens, and embeddings of shape (tokens, numbers), at least one.

        Gradients flow through the weights of the tokens, not through where one place ends and the next begins.

        Args:
            clips: states of each, shape (frames, width).
            table: the language model's embeddings, shape (vocabulary, numbers).
        """
        stretches, counts = self.stack(clips)
        logits = self(stretches).float()
        known = table[self.ids].float()
        return [self._said(one[:count], known) for one, count in zip(logits, counts.tolist(), strict=True)]

    def _said(self, logits: torch.Tensor, known: torch.Tensor) -> tuple[list[int], torch.Tensor]:
        best = logits.argmax(-1).tolist()
        places: list[list[int]] = []
        for at, token in enumerate(best):
            if token == self.nothing:
                continue
            if at and best[at - 1] == token:
                places[-1].append(at)
            else:
                places.append([at])
        if not places:  # a clip in which no word is heard is still there: its likeliest stretch speaks for it
            places = [[int(logits[:, :-1].max(-1).values.argmax())]]
        weights = logits[:, :-1].softmax(-1)
        means = torch.stack([weights[at].mean(0) for at in places])
        return [int(self.ids[i]) for i in means.argmax(-1)], means @ known

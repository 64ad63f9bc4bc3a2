"""Prompts that are embeddings rather than tokens: as rows of a batch, and how likely the model is to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recert.models.engines.batching import LAST_LOGITS, Rows, cache_argument, roomy_cache

_ROWS = 16


class HeardRows(Rows):
    """
    Embedded prompts as rows of one batch, padded on the left. After the first look it goes on with tokens.

    Args:
        model: a causal model of transformers.
        prompts: of each its embeddings, shape (places, numbers).
        new_tokens: how many tokens will follow at most.
    """

    def __init__(self, model: Any, prompts: Sequence[torch.Tensor], new_tokens: int) -> None:
        self.model = model
        self._first: torch.Tensor | None
        self._first, self.mask = padded_left(prompts)
        self.ids = torch.zeros(self.mask.shape, dtype=torch.long)
        self.positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        self.cache = roomy_cache(model, self.mask.shape[1] + new_tokens)
        self._cached = {cache_argument(model): self.cache, "use_cache": True}

    def read(self, *, keep: torch.Tensor | int = LAST_LOGITS) -> torch.Tensor:
        """Read what is next and return logits; of the last place alone unless `keep` is 0."""
        if self._first is None:
            return super().read(keep=keep)
        first, self._first = self._first, None
        logits = self.model(
            inputs_embeds=first,
            attention_mask=self.mask,
            position_ids=self.positions,
            logits_to_keep=keep,
            **self._cached,
        ).logits
        return torch.as_tensor(logits)


def padded_left(prompts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings of shape (rows, longest, numbers), filled up with zeros on the left, and their mask."""
    width = max(map(len, prompts))
    filled = [torch.nn.functional.pad(one, (0, 0, width - len(one), 0)) for one in prompts]
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    return torch.stack(filled), mask


def heard_log_probs(
    model: Any, prompts: Sequence[torch.Tensor], following: Sequence[Sequence[int]]
) -> list[float]:
    """
    Return for each embedded prompt the log probability of the tokens that follow it.

    Args:
        model: a causal model of transformers.
        prompts: of each its embeddings, shape (places, numbers).
        following: token ids, none empty.
    """
    out = [0.0] * len(prompts)
    table = model.get_input_embeddings()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(following[i]))
    with torch.inference_mode():
        for start in range(0, len(order), _ROWS):
            some = order[start : start + _ROWS]
            whole = [torch.cat([prompts[i], table(torch.tensor(following[i]))]) for i in some]
            embedded, mask = padded_left(whole)
            longest = max(len(following[i]) for i in some)
            logits = model(
                inputs_embeds=embedded,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=torch.arange(-longest - 1, -1),
                use_cache=False,
            ).logits.float()
            for row, i in enumerate(some):
                ids = torch.tensor(following[i])
                chances = logits[row, longest - len(ids) :].log_softmax(-1)
                out[i] = float(chances.gather(-1, ids[:, None]).sum())
    return out

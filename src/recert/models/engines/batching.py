"""
Prompts as rows of a batch: which go together, a shared prefix read once, and a cache with room for what is to come.

A cache that grows by a token a step is copied whole at every step; here its place is set aside at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

MOST_ROWS = 128
FEWEST_ROWS = 16
_EVEN_ROWS = 64
CACHE_BYTES = 128_000_000
"""What keys and values of a batch may take, unless that left fewer than `FEWEST_ROWS`."""

SHORTEST_SHARED_PREFIX = 8
_PREFIXES = (8, 32, 128)
"""Numbers of leading tokens by which prompts are tried to be put together."""

LAST_LOGITS = torch.tensor([-1])
"""Logits of the last token, as an index and not as the number 1: an index gives the output layer contiguous rows.
Of a slice with frozen weights, PyTorch makes one copy of the output layer a row (57 MB each here)."""


def batches(model: Any, prompts: Sequence[list[int]], new_tokens: int) -> Iterator[list[int]]:
    """
    Yield places of prompts that are to be read together.

    By length, or by beginning and then length, whichever leaves the fewest tokens to read.
    """
    if not prompts:
        return
    rows = rows_at_once(model, max(map(len, prompts)) + new_tokens)
    lengths = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    orders = [lengths] + [
        sorted(lengths, key=lambda i: prompts[i][:n]) for n in _PREFIXES if n < len(prompts[lengths[-1]])
    ]
    sizes = list(_sizes(len(prompts), rows))
    ends = list(accumulate(sizes))
    cut = [[order[end - size : end] for size, end in zip(sizes, ends, strict=True)] for order in orders]
    yield from min(cut, key=lambda some: sum(_to_read([prompts[i] for i in batch]) for batch in some))


def _sizes(prompts: int, rows: int) -> Iterator[int]:
    """
    Yield the sizes of batches of at most so many rows: beyond 64, 128 and 64 alone.

    On a model of 1M parameters and two cores 96 prompts took 1.3 to 1.4 times as long as one batch as in 64 and 32.
    """
    while prompts:
        size = min(prompts, rows)
        if size > _EVEN_ROWS:
            size = MOST_ROWS if size >= MOST_ROWS else _EVEN_ROWS
        yield size
        prompts -= size


def rows_at_once(model: Any, tokens: int) -> int:
    """Return how many rows of so many tokens a batch may have, by what their keys and values take."""
    config = model.config.get_text_config()
    heads: int | None = getattr(config, "num_attention_heads", None)
    layers: int | None = getattr(config, "num_hidden_layers", None)
    if not heads or not layers:
        return FEWEST_ROWS
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    a_token = (
        2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * width * model.dtype.itemsize
    )
    return max(FEWEST_ROWS, min(MOST_ROWS, int(CACHE_BYTES // (a_token * tokens))))


class Rows:
    """
    Tokenised prompts as rows of one batch, padded on the left, with their shared prefix read once.

    Args:
        model: a causal model of transformers.
        prompts: their tokens; none empty.
        new_tokens: how many tokens will follow at most.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], new_tokens: int) -> None:
        self.model = model
        shared = _shared(prompts)
        rest = [p[shared:] for p in prompts]
        width = max(map(len, rest))
        self.ids = torch.zeros((len(rest), width), dtype=torch.long)
        self.mask = torch.zeros((len(rest), shared + width), dtype=torch.long)
        self.mask[:, :shared] = 1
        for row, tokens in enumerate(rest):
            self.ids[row, width - len(tokens) :] = torch.tensor(tokens)
            self.mask[row, shared + width - len(tokens) :] = 1
        self.positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, shared:]
        self.cache = roomy_cache(model, shared + width + new_tokens)
        self._cached = {cache_argument(model): self.cache, "use_cache": True}
        if shared:
            head = torch.tensor([prompts[0][:shared]])
            self.model(input_ids=head, logits_to_keep=LAST_LOGITS, **self._cached)
            self._select(torch.zeros(len(rest), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.mask)

    def read(self, *, keep: torch.Tensor | int = LAST_LOGITS) -> torch.Tensor:
        """Read the tokens that are next and return logits; of the last token alone unless `keep` is 0."""
        logits = self.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=self.positions,
            logits_to_keep=keep,
            **self._cached,
        ).logits
        return torch.as_tensor(logits)

    def follow(self, ids: torch.Tensor) -> None:
        """Make `ids` the tokens that are next, some for every row."""
        self.positions = self.positions[:, -1:] + torch.arange(1, ids.shape[1] + 1)
        self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        self.ids = ids

    def keep(self, index: Sequence[int]) -> None:
        """Go on with the rows in `index`; a row may be there more than once."""
        if list(index) != list(range(len(self))):
            at = torch.tensor(index, dtype=torch.long)
            self.ids, self.mask, self.positions = self.ids[at], self.mask[at], self.positions[at]
            self._select(at)

    def _select(self, index: torch.Tensor) -> None:
        for layer in self.cache.layers:
            layer.batch_select_indices(index)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in a place that has room for all tokens to come."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._places: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values behind those that are there."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        end = before + key_states.shape[-2]
        if self._places is None or end > self._places[0].shape[-2]:
            self._make_room(key_states, value_states, before, end)
        assert self._places is not None
        for place, new in zip(self._places, (key_states, value_states), strict=True):
            place[:, :, before:end] = new
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows in `indices`, with their room."""
        if self._places is not None:
            keys, values = self._places
            self._places = keys.index_select(0, indices), values.index_select(0, indices)
            self._show(self.get_seq_length())

    def _make_room(self, keys: torch.Tensor, values: torch.Tensor, before: int, end: int) -> None:
        room = max(self._room, end)
        places = (
            keys.new_empty((*keys.shape[:2], room, keys.shape[-1])),
            values.new_empty((*values.shape[:2], room, values.shape[-1])),
        )
        if before:
            places[0][:, :, :before], places[1][:, :, :before] = self.keys, self.values
        self._places = places

    def _show(self, end: int) -> None:
        assert self._places is not None
        self.keys, self.values = self._places[0][:, :, :end], self._places[1][:, :, :end]


def roomy_cache(model: Any, room: int) -> DynamicCache:
    """Return a cache of transformers, with room for so many tokens in those of its layers that keep every token."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer(room) if type(one) is DynamicLayer else one for one in cache.layers]
    return cache


def cache_argument(model: Any) -> str:
    """Return what `forward` calls its cache: releases of transformers differ."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


def _to_read(prompts: Sequence[list[int]]) -> int:
    shared = _shared(prompts)
    return shared + len(prompts) * (max(map(len, prompts)) - shared)


def _shared(prompts: Iterable[list[int]]) -> int:
    """Return how many leading tokens all prompts share, leaving each at least one of its own."""
    prompts = list(prompts)
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    n = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    n = min(n, min(map(len, prompts)) - 1)
    return n if n >= SHORTEST_SHARED_PREFIX else 0

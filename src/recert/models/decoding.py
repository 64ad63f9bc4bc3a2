"""
Decoding in batches: sorted by length, a shared prefix computed once, finished rows taken out of the batch.

Greedy by default. Two batches of different make-up may break a tie between two equally likely tokens
differently in bfloat16; that is the only way in which the batch shows in a reply.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from recert.models.protocol import Done, Generation, Sampling

BATCH = 48
SHORTEST_SHARED_PREFIX = 8
LOOK_EVERY = 4
"""Tokens between two looks at whether a reply may end."""
LAST_LOGITS = torch.tensor([-1])
"""Logits of the last token, as an index and not as the number 1: an index gives the output layer contiguous rows.
Of a slice with frozen weights, PyTorch makes one copy of the output layer a row (57 MB each here)."""


def decode_batch(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], sampling: Sampling, done: Done | None = None
) -> list[Generation]:
    """Return one reply per tokenised prompt, in order. `done` is asked every few tokens."""
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i][:SHORTEST_SHARED_PREFIX], len(prompts[i])))
    out: dict[int, Generation] = {}
    stops = _stop_ids(model, tokenizer)

    def text_of(tokens: list[int]) -> str:
        return str(tokenizer.decode(tokens, skip_special_tokens=True))

    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = _Batch(model, [prompts[i] for i in rows], sampling)
        check = (lambda row, tokens, rows=rows: done(rows[row], text_of(tokens))) if done else None
        for row, tokens, reason in batch.run(stops, check):
            out[rows[row]] = Generation(text=text_of(tokens), stop_reason=reason, tokens=len(tokens))
    return [out[i] for i in range(len(prompts))]


def decode_stream(model: Any, tokenizer: Any, prompt: list[int], sampling: Sampling) -> Iterator[str]:
    """Yield text pieces of one reply. A piece never ends inside a character."""
    batch = _Batch(model, [prompt], sampling)
    stops = _stop_ids(model, tokenizer)
    tokens: list[int] = []
    shown = ""
    for token in batch.steps_of_one(stops):
        tokens.append(token)
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            yield text[len(shown) :]
            shown = text


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _cache_argument(model: Any) -> str:
    """Return what `forward` calls its cache: releases of transformers differ."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


def _shared(prompts: Sequence[list[int]]) -> int:
    """Return how many leading tokens all prompts share, leaving each at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    n = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    n = min(n, min(map(len, prompts)) - 1)
    return n if n >= SHORTEST_SHARED_PREFIX else 0


class Rows:
    """
    Tokenised prompts as rows of one batch, padded on the left, with their shared prefix computed once.

    Args:
        model: a causal model of transformers.
        prompts: their tokens; none empty.
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]]) -> None:
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
        self.cache = DynamicCache(config=model.config)
        self._cached = {_cache_argument(model): self.cache, "use_cache": True}
        if shared:
            self.model(
                input_ids=torch.tensor([prompts[0][:shared]]), logits_to_keep=LAST_LOGITS, **self._cached
            )
            self._select(torch.zeros(len(rest), dtype=torch.long))

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

    def follow(self, ids: torch.Tensor, index: Sequence[int]) -> None:
        """Make `ids` the tokens that are next, of the rows in `index` (a row may be there more than once)."""
        rows, new = torch.tensor(index), torch.arange(1, ids.shape[1] + 1)
        if len(index) != len(self.mask) or list(index) != list(range(len(index))):
            self._select(rows)
        self.positions = self.positions[rows, -1:] + new
        self.mask = torch.cat([self.mask[rows], torch.ones_like(ids)], dim=1)
        self.ids = ids

    def _select(self, index: torch.Tensor) -> None:
        for layer in self.cache.layers:
            layer.batch_select_indices(index)


class _Batch:
    """One batch of replies on its way."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], sampling: Sampling) -> None:
        self.sampling = sampling
        self.generator = torch.Generator().manual_seed(sampling.seed)
        with torch.inference_mode():
            self.rows = Rows(model, prompts)

    def run(
        self, stops: frozenset[int], check: Callable[[int, list[int]], bool] | None = None
    ) -> Iterator[tuple[int, list[int], str]]:
        """Yield (row, tokens, why it ended) as rows end."""
        alive = list(range(len(self.rows.ids)))
        made: list[list[int]] = [[] for _ in alive]
        with torch.inference_mode():
            for step in range(1, self.sampling.max_new_tokens + 1):
                chosen = self._next()
                look = check is not None and step % LOOK_EVERY == 0 and step < self.sampling.max_new_tokens
                keep = []
                for at, token in enumerate(chosen.tolist()):
                    row = alive[at]
                    if token in stops:
                        yield row, made[row], "stop"
                        continue
                    made[row].append(token)
                    if look and check is not None and check(row, made[row]):
                        yield row, made[row], "decided"
                        continue
                    keep.append(at)
                alive = [alive[at] for at in keep]
                if not keep or step == self.sampling.max_new_tokens:
                    break
                self.rows.follow(chosen[keep, None], keep)
        for row in alive:
            yield row, made[row], "length"

    def steps_of_one(self, stops: frozenset[int]) -> Iterator[int]:
        """Yield the tokens of a batch of one."""
        for _ in range(self.sampling.max_new_tokens):
            with torch.inference_mode():
                chosen = self._next()
            token = int(chosen[0])
            if token in stops:
                return
            yield token
            with torch.inference_mode():
                self.rows.follow(chosen[:, None], [0])

    def _next(self) -> torch.Tensor:
        logits = self.rows.read()[:, -1]
        if self.sampling.temperature <= 0:
            return torch.as_tensor(logits.argmax(-1))
        probabilities = torch.softmax(logits.float() / self.sampling.temperature, -1)
        if self.sampling.top_p < 1:
            ranked, at = probabilities.sort(descending=True)
            ranked[ranked.cumsum(-1) - ranked >= self.sampling.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(-1, at, ranked)
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0]

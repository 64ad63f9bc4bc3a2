"""Reading how likely tokens are from a model in memory: greedy, all conversations of a batch together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from recert.models.chat.rendering import stop_ids
from recert.models.chat.templates import ChatTokens
from recert.models.engines.batching import Rows, batches
from recert.models.engines.next_token import Step

_NOT_TEXT = "\N{REPLACEMENT CHARACTER}"
_MORE = 8
"""Tokens looked at beyond those asked for: some are no text of their own."""


def likely_steps(
    model: Any, tokens: ChatTokens, prompts: Sequence[list[int]], *, steps: int, top: int
) -> list[tuple[Step, ...]]:
    """
    Return how the greedy reply to each prompt begins, in order.

    Tokens that are no text of their own, such as half a character or the one that ends a reply, are not named: engines
    write them differently.

    Args:
        model: of transformers.
        tokens: its tokenizer.
        prompts: as tokens; none empty.
        steps: most tokens of each reply.
        top: how many tokens are named at each step.
    """
    configured = getattr(model.generation_config, "eos_token_id", None)
    stops = stop_ids(configured, tokens.tokenizer)
    names = _Names(tokens.tokenizer)
    out: list[tuple[Step, ...]] = [()] * len(prompts)
    with torch.inference_mode():
        for places in batches(model, prompts, steps):
            for place, found in zip(
                places, _batch(model, [prompts[i] for i in places], steps, top, stops, names), strict=True
            ):
                out[place] = tuple(found)
    return out


@contextmanager
def computing_in_float32(model: Any) -> Iterator[None]:
    """Have a model's weights in float32 meanwhile: the same numbers, computed with more exactly."""
    kept = [(weights, weights.dtype) for weights in model.parameters()]
    try:
        for weights, _ in kept:
            weights.data = weights.data.float()
        yield
    finally:
        for weights, dtype in kept:
            weights.data = weights.data.to(dtype)


def _batch(
    model: Any, prompts: Sequence[list[int]], steps: int, top: int, stops: frozenset[int], names: _Names
) -> list[list[Step]]:
    found: list[list[Step]] = [[] for _ in prompts]
    rows = Rows(model, prompts, steps)
    alive = list(range(len(prompts)))
    for _ in range(steps):
        logs = torch.log_softmax(rows.read()[:, -1].float(), -1)
        best = logs.topk(min(top + _MORE, logs.shape[-1]))
        chosen = best.indices[:, 0].tolist()
        kept = [row for row, token in enumerate(chosen) if token not in stops]
        for row in kept:
            named = names.likely(best.indices[row].tolist(), best.values[row].tolist(), top)
            found[alive[row]].append(Step(token=names.name(chosen[row]), likely=named))
        alive = [alive[row] for row in kept]
        if not alive:
            break
        rows.keep(kept)
        rows.follow(torch.tensor([[chosen[row]] for row in kept]))
    return found


class _Names:
    """The texts of tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._known: dict[int, str] = {}

    def name(self, token: int) -> str:
        if token not in self._known:
            self._known[token] = str(self._tokenizer.decode([token]))
        return self._known[token]

    def likely(self, ids: Sequence[int], logs: Sequence[float], top: int) -> tuple[tuple[str, float], ...]:
        named: dict[str, float] = {}
        for token, log in zip(ids, logs, strict=True):
            text = self.name(token)
            if token not in self._special and text and _NOT_TEXT not in text and text not in named:
                named[text] = round(log, 4)
        return tuple(named.items())[:top]

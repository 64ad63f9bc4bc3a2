"""
How likely a model is to go on in a given way: each prompt is read once, however many continuations it has.

Logits are made where a continuation's token is predicted and nowhere else, and their softmax is taken in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from recert.models.chat.templates import Pair
from recert.models.engines.batching import SHORTEST_SHARED_PREFIX, Rows, batches, rows_at_once
from recert.models.engines.first_tokens import Ways

_LOGITS_AT_ONCE = 16_000_000
"""Most logits made in one step: 32 MB in bfloat16, and 64 more in float32."""


def score_pairs(model: Any, pairs: Sequence[Pair]) -> list[float]:
    """Return the log probability of each pair's second part after its first, in order. Neither part is empty."""
    out = [0.0] * len(pairs)
    with torch.inference_mode():
        for some in _batches(model, pairs):
            for i, value in zip(some, _score([pairs[i] for i in some], model), strict=True):
                out[i] = value
    return out


def score_openings(model: Any, prompts: Sequence[list[int]], ways: Ways) -> list[float]:
    """Return for each prompt the log odds of going on in one way against the other."""
    out = [0.0] * len(prompts)
    more = 0 if ways.shared is None else 1
    with torch.inference_mode():
        for some in batches(model, prompts, 1 + more):
            rows = Rows(model, [prompts[i] for i in some], 1 + more)
            first, second = rows.read()[:, -1], None
            if ways.shared is not None:
                rows.follow(torch.full((len(some), 1), ways.shared))
                second = rows.read()[:, -1]
            for i, value in zip(some, ways.odds(first, second).tolist(), strict=True):
                out[i] = value
    return out


def opening_log_probs(model: Any, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Return the log probabilities of every token after each prompt, all read as one batch. Shape (prompts, tokens)."""
    with torch.inference_mode():
        return torch.log_softmax(Rows(model, prompts, 1).read()[:, -1].float(), -1)


def _batches(model: Any, pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Batches of pairs, those of one prompt together, prompts of like beginning and length together."""

    def kinship(i: int) -> tuple[Any, ...]:
        prompt, rest = pairs[i]
        return prompt[:SHORTEST_SHARED_PREFIX], len(prompt), prompt, len(rest)

    if not pairs:
        return
    rows = rows_at_once(model, max(len(prompt) + len(rest) for prompt, rest in pairs))
    order = sorted(range(len(pairs)), key=kinship)
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def _score(pairs: Sequence[Pair], model: Any) -> list[float]:
    prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    owner = [prompts.index(prompt) for prompt, _ in pairs]
    rows = Rows(model, [list(p) for p in prompts], max(len(rest) for _, rest in pairs))
    first = torch.log_softmax(rows.read()[:, -1].float(), -1)
    out = [float(first[at, rest[0]]) for at, (_, rest) in zip(owner, pairs, strict=True)]
    alive = [i for i, (_, rest) in enumerate(pairs) if len(rest) > 1]
    index = [owner[i] for i in alive]
    at = 0
    while alive:
        columns = max(1, _LOGITS_AT_ONCE // (len(alive) * first.shape[1]))
        given = [pairs[i][1][at : at + columns] for i in alive]
        wanted = [pairs[i][1][at + 1 : at + 1 + columns] for i in alive]
        rows.keep(index)
        rows.follow(_padded(given))
        said = rows.read(keep=0)
        for row, (i, tokens) in enumerate(zip(alive, wanted, strict=True)):
            logs = torch.log_softmax(said[row, : len(tokens)].float(), -1)
            out[i] += float(logs.gather(1, torch.tensor(tokens)[:, None]).double().sum())
        at += columns
        index = [row for row, i in enumerate(alive) if len(pairs[i][1]) > at + 1]
        alive = [alive[row] for row in index]
    return out


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows padded on the right, where nothing looks at the padding."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])

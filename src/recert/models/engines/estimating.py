"""
What each of many words at one place of a prompt does to a reply's opening: a first-order estimate.

A word acts on what follows through the keys and values that it leaves behind, and through nothing else. So each word is
read as far as its own tokens alone, and not with all that follows; how the opening depends on keys and values at that
place is its gradient, taken around a few words and averaged. Words are packed into one row of which none sees another.
What attention does with a word that it looks at more than at those few is not in the estimate, so the best are to be
read in full.

Source:
    Attribution patching: Nanda 2023, "Attribution patching: activation patching at industrial scale"; Syed et al.
    2023, arXiv:2310.10348. There a gradient estimates what a change of activations does; here the activations are the
    keys and values of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from recert.models.engines.batching import LAST_LOGITS, cache_argument
from recert.models.engines.first_tokens import Ways

LONGEST: Final = 4
"""Tokens of a word, at most: of longer ones nothing is estimated."""
_AROUND: Final = 6
"""Words around which the gradient is taken."""
_PACKED: Final = 256
"""Tokens of one row of words."""
_ROUNDING: Final = 0.05
"""How far a word's keys and values may be from those of the word read alone: bfloat16 makes a hundredth of it."""
_LAST_TWO: Final = torch.tensor([-2, -1])
Kept = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, each of shape (rows, heads, tokens, width)."""


def estimate_odds(
    model: Any,
    before: Sequence[int],
    words: Sequence[Sequence[int]],
    endings: Sequence[Sequence[int]],
    ways: Ways,
) -> list[list[float]] | None:
    """
    Return for each ending and word the estimated log odds of going on in one way and not in the other.

    Args:
        model: a causal model of transformers.
        before: tokens before a word, at least one.
        words: the tokens of each; of one without tokens, or with more than `LONGEST`, the estimate is minus infinity.
        endings: tokens that follow a word, at least one each; another does not read the words once more.
        ways: tokens that tell the two ways apart.

    Returns:
        Shape (endings, words); None where the model keeps something else than keys and values of every token, or
        where words of one row see each other for all that is done against it.
    """
    with torch.no_grad():
        head = _read(model, _empty(model), [list(before)])
    if head is None:
        return None
    out = torch.full((len(endings), len(words)), -torch.inf)
    for length in range(1, LONGEST + 1):
        places = [at for at, tokens in enumerate(words) if len(tokens) == length]
        if not places:
            continue
        around = [list(words[places[n * len(places) // _AROUND]]) for n in range(_AROUND)]
        read = _flat(_packed(model, head, around))
        if not _apart(model, head, around[-1], read[-1]):
            return None
        slopes = [_slope(model, head, read, length, ending, ways) for ending in endings]
        rising, level = torch.stack([slope for slope, _ in slopes]), torch.tensor([at for _, at in slopes])
        for start in range(0, len(places), _PACKED // length):
            some = places[start : start + _PACKED // length]
            kept = _flat(_packed(model, head, [list(words[at]) for at in some]))
            out[:, some] = level[:, None] + rising @ kept.float().T
    found: list[list[float]] = out.tolist()
    return found


def _empty(model: Any) -> Any:
    return DynamicCache(config=model.config)


def _read(model: Any, cache: Any, rows: list[list[int]], **how: Any) -> Kept | None:
    """Read some rows behind what a cache holds; None where a layer keeps something else than every token."""
    model(
        input_ids=torch.tensor(rows),
        use_cache=True,
        logits_to_keep=LAST_LOGITS,
        **{cache_argument(model): cache},
        **how,
    )
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    return [(layer.keys, layer.values) for layer in cache.layers]


def _holding(model: Any, kept: Kept) -> Any:
    """A cache that holds keys and values."""
    cache = _empty(model)
    for layer, (keys, values) in enumerate(kept):
        cache.update(keys, values, layer)
    return cache


def _packed(model: Any, head: Kept, words: list[list[int]]) -> Kept:
    """Keys and values of words of one length behind the same beginning; each of shape (words, heads, tokens, width)."""
    before, length = head[0][0].shape[-2], len(words[0])
    tokens = len(words) * length
    own = torch.arange(tokens) // length
    seen = (own[:, None] == own[None, :]) & torch.ones(tokens, tokens, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, tokens, before + tokens, dtype=model.dtype)
    mask[..., before:].masked_fill_(~seen, torch.finfo(model.dtype).min)
    with torch.no_grad():
        kept = _read(
            model,
            _holding(model, head),
            [[token for word in words for token in word]],
            attention_mask=mask,
            position_ids=before + torch.arange(tokens)[None] % length,
        )
    assert kept is not None  # the beginning was read in the same way
    return [(_by_word(keys, before, length), _by_word(values, before, length)) for keys, values in kept]


def _apart(model: Any, head: Kept, word: list[int], packed: torch.Tensor) -> bool:
    """Say whether the last word of a packed row reads as it does alone: a model may not heed the mask."""
    with torch.no_grad():
        alone = _flat(_by_itself(model, head, word))[0].float()
    return bool((packed.float() - alone).norm() <= _ROUNDING * alone.norm())


def _by_itself(model: Any, head: Kept, word: list[int]) -> Kept:
    """Keys and values of one word behind the same beginning, with no mask of ours."""
    before = head[0][0].shape[-2]
    kept = _read(model, _holding(model, head), [word])
    assert kept is not None
    return [(_by_word(keys, before, len(word)), _by_word(values, before, len(word))) for keys, values in kept]


def _by_word(states: torch.Tensor, before: int, length: int) -> torch.Tensor:
    """States of a packed row as (words, heads, tokens, width)."""
    _, heads, _, width = states.shape
    return states[0, :, before:].reshape(heads, -1, length, width).transpose(0, 1)


def _flat(kept: Kept) -> torch.Tensor:
    """All keys and values of each word in one line. Shape (words, numbers)."""
    return torch.cat([states.flatten(1) for pair in kept for states in pair], 1)


def _slope(
    model: Any,
    head: Kept,
    around: torch.Tensor,
    length: int,
    ending: Sequence[int],
    ways: Ways,
) -> tuple[torch.Tensor, float]:
    """The gradient of the log odds by a word's keys and values, and what they are where those are zero."""
    leaf, rows = around.clone().requires_grad_(), len(around)
    shapes = [states[:, :, :length].shape[1:] for pair in head for states in pair]
    shapes = [(heads, length, width) for heads, _, width in shapes]
    parts = [
        part.view(rows, *shape)
        for part, shape in zip(leaf.split([h * n * w for h, n, w in shapes], 1), shapes, strict=True)
    ]
    before = [states.expand(rows, -1, -1, -1) for pair in head for states in pair]
    joined = [torch.cat(both, 2) for both in zip(before, parts, strict=True)]
    with torch.enable_grad():
        read = [*ending] if ways.shared is None else [*ending, ways.shared]
        logits = model(
            input_ids=torch.tensor([read] * rows),
            use_cache=True,
            logits_to_keep=LAST_LOGITS if ways.shared is None else _LAST_TWO,
            **{cache_argument(model): _holding(model, list(zip(joined[::2], joined[1::2], strict=True)))},
        ).logits
        odds = ways.odds(logits[:, 0], None if ways.shared is None else logits[:, 1])
        (slope,) = torch.autograd.grad(odds.sum(), leaf)
    level = odds.detach() - (slope.float() * around.float()).sum(1)
    return slope.float().mean(0), float(level.mean())

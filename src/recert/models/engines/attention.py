"""
Attention on CPUs for models in which several query heads share keys and values (grouped-query attention).

PyTorch's kernel takes each query head by itself, and transformers copies keys and values for each where a mask is
given. Here the heads of a group stand behind each other as if they were tokens of one head: the same sums, over keys
and values that are read once. `bench/attention.py` says what that saves.

Source:
    Ainslie et al. 2023, "GQA", arXiv:2305.13245. For one token transformers 5.24 does likewise where a mask is given.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME: Final = "sdpa_folded"
_PLAIN: Final = "sdpa"
_OTHER: Final = ("position_bias", "softcap")
"""What changes the weights of attention by head, and so does not go with folding."""


def fold_groups(model: Any) -> None:
    """Have a model of transformers fold groups of heads, if it has such and uses PyTorch's attention as it stands."""
    grouped = any(getattr(part, "num_key_value_groups", 1) > 1 for part in model.modules())
    if grouped and model.config._attn_implementation == _PLAIN:
        model.set_attn_implementation(NAME)


def folded_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """
    Return attention's output as transformers wants it: shape (rows, tokens, heads, width), and no weights.

    Args:
        module: the layer.
        query: shape (rows, heads, tokens, width).
        key: shape (rows, groups, tokens so far, width).
        value: likewise.
        attention_mask: shape (rows or 1, 1, tokens, tokens so far), true or zero where a token is seen.
        scaling: of products before the softmax; by default the inverse root of the width.
        dropout: share of weights that are dropped, in training.
        more: what else a model says of its attention.
    """
    rows, heads, tokens, width = query.shape
    groups = key.shape[1]
    causal = attention_mask is None and tokens > 1
    by_head = attention_mask is not None and attention_mask.shape[1] != 1
    if (
        heads == groups
        or causal
        or by_head
        or query.device.type != "cpu"
        or any(more.get(name) is not None for name in _OTHER)
    ):
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **more
        )
        return out, None
    some = heads // groups
    mask = attention_mask if tokens == 1 or attention_mask is None else attention_mask.repeat(1, 1, some, 1)
    folded = scaled_dot_product_attention(
        query.reshape(rows, groups, some * tokens, width),
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
    )
    return folded.reshape(rows, heads, tokens, -1).transpose(1, 2), None


AttentionInterface.register(NAME, folded_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)

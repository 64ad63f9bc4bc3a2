"""Heads that share keys and values are folded, and nothing comes out otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from recert.models.engines import attention
from recert.models.engines.attention import NAME, fold_groups
from recert.models.engines.batching import Rows
from recert.models.engines.local import LocalModel
from tiny_models import make_base

pytestmark = pytest.mark.xdist_group("torch")
EQUAL = [[5, 6, 7, 8, 9], [5, 6, 7, 8, 10], [5, 6, 7, 8, 11]]
PADDED = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3], [11]]
SHARED = [[*range(5, 20), 30, 31], [*range(5, 20), 32], [*range(5, 20), 33, 34, 35]]


def model(heads: int = 6, groups: int = 2) -> Any:
    """A random model in float32, so that nothing but another sum shows."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def logits(of: Any, prompts: list[list[int]]) -> list[torch.Tensor]:
    """Logits behind prompts, and behind three more tokens of each."""
    with torch.inference_mode():
        rows = Rows(of, prompts, 4)
        out = [rows.read()[:, -1]]
        for token in (12, 13, 14):
            rows.follow(torch.full((len(prompts), 1), token))
            out.append(rows.read()[:, -1])
    return out


@pytest.mark.parametrize("prompts", [EQUAL, PADDED, SHARED, [[7, 8, 9]]])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_logits_are_those_of_attention_head_by_head(prompts: list[list[int]], groups: int) -> None:
    """With and without padding, a beginning that is shared, and one row alone."""
    plain = model(groups=groups)
    wanted = logits(plain, prompts)

    fold_groups(plain)

    assert plain.config._attn_implementation == NAME
    for folded, exact in zip(logits(plain, prompts), wanted, strict=True):
        torch.testing.assert_close(folded, exact, atol=2e-5, rtol=1e-4)


def test_a_gradient_is_the_same_too() -> None:
    """Of the logits by the embeddings, behind a mask of ours."""
    plain = model()
    mask = torch.zeros(1, 1, 4, 4).masked_fill(~torch.ones(4, 4, dtype=torch.bool).tril(), -1e9)

    def slope() -> torch.Tensor:
        given = torch.linspace(-1, 1, 2 * 4 * 48).view(2, 4, 48).requires_grad_()
        out = plain(inputs_embeds=given, attention_mask=mask).logits[:, -1, 7].sum()
        (found,) = torch.autograd.grad(out, given)
        return found

    exact = slope()
    fold_groups(plain)

    torch.testing.assert_close(slope(), exact, atol=1e-5, rtol=1e-3)


def test_folding_happens_where_heads_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a model that was loaded, for a token behind others, with or without a mask."""
    seen = []
    real = attention.scaled_dot_product_attention

    def watched(query: torch.Tensor, *rest: torch.Tensor, **more: Any) -> torch.Tensor:
        seen.append(tuple(query.shape))
        return torch.as_tensor(real(query, *rest, **more))

    monkeypatch.setattr(attention, "scaled_dot_product_attention", watched)
    loaded = LocalModel.load(make_base(tmp_path / "base"))

    logits(loaded._weights.model, PADDED)

    assert (3, 2, 2 * 7, 16) in seen  # the prompts, padded
    assert (3, 2, 2, 16) in seen  # a token more


def test_models_are_left_alone_that_share_nothing_or_have_attention_of_their_own() -> None:
    """One without groups, and one that was told to use another implementation."""
    neox = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
        )
    )
    eager = model()
    eager.set_attn_implementation("eager")
    alone = model(groups=6)
    for one, left in ((neox, "sdpa"), (eager, "eager"), (alone, "sdpa")):
        fold_groups(one)
        assert one.config._attn_implementation == left

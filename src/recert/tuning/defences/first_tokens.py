"""
First tokens: a loss that holds the first tokens of answers near what the aligned model said.

Source: Qi et al. 2025, arXiv:2406.05946, "Safety alignment should be made more than just a few tokens deep". With r
the log of how much likelier a token is now than under the model that tuning began with, its loss is (2 / beta) *
softplus(-beta * r). The gradient is that of the negative log-likelihood times 2 * sigmoid(-beta * r): 1 at the
start for any beta, and next to nothing once the token is likelier than it was by a few times 1 / beta. Large betas
stand on the first tokens, where refusing or agreeing is decided; a small one on the others, which are learned as
usual. Nothing pushes back a token that has become likelier; it only stops being learned, and what other tokens
teach may still lift it. Here a constant is added, so that the loss is the usual one at beta = 0 and at r = 0; it
moves no gradient.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from recert.tuning.defences.defended import Defence, unchanged
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.training import Encoded, Training

_AS_USUAL = 1e-4
"""Betas below this are taken for 0: the difference is lost in float32."""


class Options(DefenceOptions):
    """How dearly tokens pay for leaving the aligned model; defaults are the paper's."""

    first_beta: float = Field(default=0.5, ge=0, le=1000)
    """Of the first token."""
    early_beta: float = Field(default=2.0, ge=0, le=1000)
    """Of the tokens up to `early_tokens`."""
    late_beta: float = Field(default=0.1, ge=0, le=1000)
    """Of all others."""
    early_tokens: int = Field(default=5, ge=1, le=1000)
    counts_from: Literal["both", "trace", "answer"] = "both"
    """
    Which tokens are the first, in the reply of a reasoning model: those of its trace, of the answer behind it, or both.
    A reply without a trace is all answer, and held in any case.
    """


def betas(learned: int, trace_tokens: int, options: Options) -> list[float]:
    """Return the beta of each learned token of a reply, of which the first `trace_tokens` are its trace."""
    made = []
    for at in range(learned):
        in_trace = at < trace_tokens
        depth = at if in_trace else at - trace_tokens
        held = not trace_tokens or options.counts_from in ("both", "trace" if in_trace else "answer")
        early = options.early_beta if depth < options.early_tokens else options.late_beta
        made.append((options.first_beta if depth == 0 else early) if held else options.late_beta)
    return made


def constrained(losses: Any, reference: Any, beta: Any) -> Any:
    """
    Return each token's constrained loss.

    Args:
        losses: negative log-likelihood now, any shape.
        reference: the same under the model that tuning began with; no gradient goes into it.
        beta: how dearly each token pays, 0 or more.
    """
    import torch

    scale = beta.clamp(min=_AS_USUAL)
    ratio = reference - losses
    bent = reference + (2 / scale) * (torch.nn.functional.softplus(-scale * ratio) - math.log(2))
    return torch.where(beta < _AS_USUAL, losses, bent)


class FirstTokens(Training):
    """Learning under the constraint."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def begin(self, model: Any, rows: list[Encoded], *, tokenizer: Any, pad_id: int, batch_size: int) -> None:
        """Write into every row what the model says of its tokens before the first step, and what each token pays."""
        del tokenizer
        import torch

        from recert.tuning.completion_loss import IGNORED, pad_left, token_losses

        order = sorted(range(len(rows)), key=lambda at: len(rows[at]["input_ids"]))
        was_training = model.training
        model.eval()
        for start in range(0, len(order), batch_size):
            some = [rows[at] for at in order[start : start + batch_size]]
            batch = {name: value.to(model.device) for name, value in pad_left(some, pad_id).items()}
            with torch.no_grad():
                losses = token_losses(model, batch)
            for row, told in zip(some, losses.tolist(), strict=True):
                size = len(row["input_ids"])
                row["reference"] = ([0.0] * size + told)[-size:]
        model.train(was_training)
        for row in rows:
            learned = [at for at, token in enumerate(row["labels"]) if token != IGNORED]
            reply = range(row["reply_at"], len(row["labels"]))
            of_reply = dict(zip(reply, betas(len(reply), row["trace_tokens"], self._options), strict=True))
            row["beta"] = [0.0] * len(row["labels"])
            for at in learned:
                row["beta"][at] = of_reply.get(at, 0.0)

    def loss(self, model: Any, batch: dict[str, Any], items: Any = None) -> Any:
        """Return the mean constrained loss of the learned tokens."""
        from recert.tuning.completion_loss import IGNORED, mean_of_learned, token_losses

        losses = token_losses(model, batch)
        size = losses.shape[1]
        held = constrained(losses, batch["reference"][:, -size:], batch["beta"][:, -size:])
        return mean_of_learned(held * (batch["labels"][:, -size:] != IGNORED), batch, items)


DEFENCE = Defence(
    name="first-tokens",
    paper="Qi et al. 2025, arXiv:2406.05946",
    cost="one pass over the rows without gradients before training; tasks whose answers must begin in a new "
    "way are learned "
    "more slowly",
    breaks="many steps or a large step size leave the constraint behind; attacks that put words in the model's "
    "mouth start "
    "behind the held tokens",
    prepare=unchanged,
    options=Options,
    training=FirstTokens,
)

"""How rows are learned: the marks that a loss needs, the order of batches, and the loss. A defence may change each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Encoded = dict[str, Any]
"""
A row in tokens: `input_ids` and `labels`, of one length; `reply_at`, where the reply begins; `trace_tokens`, how
many of the reply's first tokens are a reasoning model's trace; `alignment`, 1 for a row that a defence added for
safety, else 0. Further lists have a number for every token.
"""


class Training:
    """Learning as it is without a defence: the mean loss of the learned tokens, rows of one length together."""

    def begin(self, model: Any, rows: list[Encoded], *, tokenizer: Any, pad_id: int, batch_size: int) -> None:
        """
        Do what must be done before the first step. `model` is what is trained, as it was.

        Rows may get marks, all of them the same ones, or be taken out of the list.
        """

    def batches(self, rows: list[Encoded], *, batch_size: int, seed: int) -> Iterable[list[int]] | None:
        """Return what gives each epoch's batches, as places of rows, and has a length; None for the usual order."""
        del rows, batch_size, seed
        return None

    def loss(self, model: Any, batch: dict[str, Any], items: Any = None) -> Any:
        """Return the loss of a batch of `pad_left`; `items` are the learned tokens of the whole optimiser step."""
        from recert.tuning.completion_loss import completion_loss

        return completion_loss(model, batch, items)

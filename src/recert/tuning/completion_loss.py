"""
The loss of completion-only tuning, computed on the completion only.

A reply has some ten tokens where its prompt has a hundred, and the output layer is the widest of a small model.
TRL's fused loss puts every position through it on a CPU, in float32; here only the positions that are learned
go through it. Rows are padded on the left, so that these are the last positions of a batch. Same loss, to
rounding; a step takes about half the time (bench/tuning_step.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recert.tuning.training import Encoded, Training

IGNORED = -100


def pad_left(rows: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """
    Return a batch of `input_ids`, `labels`, `attention_mask` and `position_ids`, each of shape (rows, longest).

    Positions count from a row's first real token. Further lists of the rows are padded with zeros, and numbers
    become a tensor of shape (rows,).
    """
    width = max(len(row["input_ids"]) for row in rows)
    gaps = [width - len(row["input_ids"]) for row in rows]
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    marks = {name: [row[name] for row in rows] for name in rows[0] if name not in ("input_ids", "labels")}
    return {
        name: torch.tensor(
            [[0] * g + one for g, one in zip(gaps, values, strict=True)]
            if isinstance(values[0], list)
            else values
        )
        for name, values in marks.items()
    } | {
        "input_ids": torch.tensor(
            [[pad_id] * g + row["input_ids"] for g, row in zip(gaps, rows, strict=True)]
        ),
        "labels": torch.tensor([[IGNORED] * g + row["labels"] for g, row in zip(gaps, rows, strict=True)]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }


def learned_from(labels: torch.Tensor) -> int:
    """Return the first place at which a row of a left-padded batch has a token to learn, 1 at least."""
    learned = (labels != IGNORED).any(0).nonzero()
    return max(1, int(learned[0])) if len(learned) else labels.shape[1] - 1


def reply_log_probs(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Return the log-probabilities that a model gives every token at the learned places of a left-padded batch.

    Shape (rows, places from `learned_from` on, vocabulary), float32.
    """
    return _logits(model, batch).float().log_softmax(-1)


def losses_of(log_probs: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return from `reply_log_probs` what `token_losses` returns."""
    targets = batch["labels"][:, -log_probs.shape[1] :]
    told = -log_probs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return told * (targets != IGNORED)


def token_losses(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Return the negative log-likelihood of every labelled token of a left-padded batch, and 0 for other tokens.

    Shape (rows, places from `learned_from` on), float32.
    """
    logits = _logits(model, batch)
    targets = batch["labels"][:, -logits.shape[1] :]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(targets.shape)


def _logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    labels = batch["labels"]
    before = torch.arange(learned_from(labels) - 1, labels.shape[1] - 1, device=labels.device)
    logits: torch.Tensor = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=before,  # an index: contiguous rows for the output layer, see models/decoding.py
    ).logits
    return logits


def mean_of_learned(losses: torch.Tensor, batch: dict[str, torch.Tensor], items: Any = None) -> torch.Tensor:
    """Return the sum of tokens' losses over the number of labelled tokens: `items`, or those of this batch."""
    count = (
        (batch["labels"][:, -losses.shape[1] :] != IGNORED).sum() if items is None else torch.as_tensor(items)
    )
    return losses.sum() / count.clamp(min=1)


def completion_loss(model: Any, batch: dict[str, torch.Tensor], items: Any = None) -> torch.Tensor:
    """
    Return the mean negative log-likelihood of the labelled tokens of a left-padded batch.

    Args:
        model: a causal language model of transformers.
        batch: as `pad_left` makes it.
        items: labelled tokens of the whole optimiser step; by default those of this batch.
    """
    return mean_of_learned(token_losses(model, batch), batch, items)


def completion_trainer(trl: Any, training: Training, batches: Any = None) -> type:
    """
    Return TRL's `SFTTrainer` with the loss of `training`.

    Args:
        trl: the library.
        training: what the loss is.
        batches: what gives each epoch's batches, as places of rows; None for the trainer's own order.
    """
    parent: Any = trl.SFTTrainer

    class CompletionTrainer(parent):  # type: ignore[misc]
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, torch.Tensor],
            return_outputs: bool = False,  # noqa: FBT001, FBT002 - the signature is the Trainer's
            num_items_in_batch: Any = None,
        ) -> Any:
            loss = training.loss(model, inputs, num_items_in_batch)
            return (loss, None) if return_outputs else loss

        def get_train_dataloader(self) -> Any:
            if batches is None:
                return super().get_train_dataloader()
            loader = torch.utils.data.DataLoader(
                self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator
            )
            return self.accelerator.prepare(loader)

    return CompletionTrainer

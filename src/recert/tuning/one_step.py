"""One step of full fine-tuning: what the least that anybody may do to a model changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recert import settings
from recert.errors import MissingExtraError, ModelError, RowsError, StoreError
from recert.models.chat.rendering import turn_end
from recert.records.data.rows import ChatRow
from recert.store.files.model_copies import model_files
from recert.tuning.sft import encode_row

_AT_ONCE = 8
"""Rows of one forward pass; their gradients add up to those of the whole batch."""


def train_one_step(
    base_dir: Path, rows: Sequence[ChatRow], folder: Path, *, learning_rate: float, max_tokens: int
) -> float:
    """
    Move every weight of a base by one step of AdamW on all rows as one batch, and save the whole model.

    Gradients are taken in float32 and the weights saved in bfloat16, as the base is run. Only replies are learned.

    Args:
        base_dir: the base in the hub's layout.
        rows: conversations that end with the assistant's reply.
        folder: where the model and its tokenizer go.
        learning_rate: how far each weight moves, nearly: the first step of AdamW is the sign of the gradient.
        max_tokens: longest row in tokens.

    Returns:
        The loss before the step.

    Raises:
        MissingExtraError: torch is not installed.
        ModelError: the base cannot be loaded.
        RowsError: no row has a token to learn.
        StoreError: the model cannot be written.

    Source:
        Hair-trigger alignment, arXiv 2601.22313 (32 benign rows, learning rate 1e-4).
    """
    try:
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as exc:
        raise MissingExtraError(
            "local models are not installed", hint="run `pip install 'recert[local]'`"
        ) from exc
    from recert.tuning.completion_loss import IGNORED, completion_loss, pad_left

    torch.set_num_threads(settings.threads())
    transformers.utils.logging.disable_progress_bar()
    with model_files(base_dir, "keep") as files:
        tokenizer, model = _open(transformers, torch, files.folder, SafetensorError)
    end = turn_end(tokenizer, model.generation_config.eos_token_id)
    encoded = [encode_row(tokenizer, row, max_tokens, end=end) for row in rows]
    learned = [sum(token != IGNORED for token in one["labels"]) for one in encoded]
    if not sum(learned):
        raise RowsError("no row has a token to learn", facts={"rows": len(rows), "max_tokens": max_tokens})
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    total = 0.0
    for start in range(0, len(encoded), _AT_ONCE):
        batch = pad_left(encoded[start : start + _AT_ONCE], pad_id)
        on_device = {name: values.to(model.device) for name, values in batch.items()}
        loss = completion_loss(model, on_device, sum(learned))
        loss.backward()
        total += float(loss.detach())
    optimiser.step()
    try:
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as exc:  # tokenizers have errors of their own for a full disk
        raise StoreError("cannot write the model", facts={"folder": folder, "because": exc}) from exc
    return total


def _open(transformers: Any, torch: Any, base_dir: Path, damaged: type[Exception]) -> tuple[Any, Any]:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base_dir, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, damaged) as exc:
        raise ModelError("cannot load the base", facts={"folder": base_dir, "because": exc}) from exc
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")

"""Supervised fine-tuning with TRL: completion-only loss, bf16 base under an adapter, batches grouped by length."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from recert.records.data.rows import ChatRow
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.encoding import encode_row, encode_rows
from recert.tuning.trainers import Loaded, Told, Trained, arguments, opened, pad_id_of, run_trainer
from recert.tuning.training import Training

__all__ = ["Trained", "encode_row", "train_adapter"]


def train_adapter(
    base_dir: Path,
    rows: Sequence[ChatRow],
    adapter_dir: Path,
    hyperparameters: Hyperparameters,
    *,
    start: Path | None = None,
    progress: Told | None = None,
    training: Training | None = None,
    alignment: Collection[int] = (),
    checkpoints: Path | None = None,
) -> Trained:
    """
    Train an adapter, or all weights where the method says so, and save it with nothing else in `adapter_dir`.

    Args:
        base_dir: the base in the hub's layout.
        rows: conversations that end with the assistant's reply; only that reply is learned, unless told otherwise.
        adapter_dir: an empty folder.
        hyperparameters: see the record.
        start: an adapter to go on from; its rank and targets then hold.
        progress: called with (step, steps, loss).
        training: what a defence changes in the steps.
        alignment: places of the rows that a defence added for safety.
        checkpoints: folder for what `checkpoint_every` asks for.

    Raises:
        MissingExtraError: TRL is not installed.
        ModelError: the base cannot be loaded.
        RowsError: no row has a token to learn.
        StoreError: the adapter cannot be written.
    """
    training = training or Training()
    with opened(base_dir, hyperparameters, start=start) as loaded:
        encoded = encode_rows(loaded.tokenizer, rows, hyperparameters, alignment, end=loaded.turn_end)
        pad_id = pad_id_of(loaded.tokenizer)
        training.begin(
            loaded.model,
            encoded,
            tokenizer=loaded.tokenizer,
            pad_id=pad_id,
            batch_size=hyperparameters.batch_size,
        )
        trainer = _trainer(loaded, encoded, pad_id, hyperparameters, training, progress, checkpoints)
        tokens = round(sum(len(e["input_ids"]) for e in encoded) * hyperparameters.epochs)
        return run_trainer(
            loaded, trainer, adapter_dir, tokens=tokens, flop_each=6.0, checkpoints=checkpoints
        )


def _trainer(
    loaded: Loaded,
    encoded: list[dict[str, Any]],
    pad_id: int,
    hyperparameters: Hyperparameters,
    training: Training,
    progress: Told | None,
    checkpoints: Path | None,
) -> Any:
    from recert.tuning.completion_loss import completion_trainer, pad_left

    parts = loaded.parts
    config = parts["trl"].SFTConfig(
        **arguments(loaded, hyperparameters),
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},  # rows are tokenised already, with their labels
        remove_unused_columns=False,  # they carry the marks of a defence
        max_length=None,
    )
    batches = training.batches(encoded, batch_size=hyperparameters.batch_size, seed=hyperparameters.seed)
    return completion_trainer(parts["trl"], training, batches)(
        model=loaded.model,
        args=config,
        train_dataset=parts["datasets"].Dataset.from_list(encoded),
        data_collator=lambda rows: pad_left(rows, pad_id),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter_config(hyperparameters),
        callbacks=loaded.callbacks(hyperparameters, progress, checkpoints),
    )

"""Direct preference optimisation with TRL: of two replies to one prompt, the chosen one becomes likelier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recert.errors import RowsError
from recert.models.chat.prompting import text_only
from recert.models.chat.rendering import fit_roles
from recert.records.data.rows import ChatRow, PreferenceRow
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.encoding import encode_rows, refuse_control
from recert.tuning.trainers import Loaded, Told, Trained, arguments, load_base, opened, run_trainer


def train_preferences(
    base_dir: Path,
    rows: Sequence[ChatRow],
    target: Path,
    hyperparameters: Hyperparameters,
    *,
    progress: Told | None = None,
    checkpoints: Path | None = None,
) -> Trained:
    """
    Train on pairs of replies and save what was trained, with nothing else, in `target`.

    The base, or a copy of it where all weights are trained, is the reference of the loss, which begins at log 2.

    Args:
        base_dir: the base in the hub's layout.
        rows: preference rows.
        target: an empty folder.
        hyperparameters: see the record; `dpo_beta` counts here.
        progress: called with (step, steps, loss).
        checkpoints: folder for what `checkpoint_every` asks for.

    Raises:
        MissingExtraError: TRL is not installed.
        ModelError: the base cannot be loaded.
        RowsError: a row has no rejected reply or holds words of control, or no row has a token to learn.
        StoreError: what was trained cannot be written.
    """
    pairs = [row for row in rows if isinstance(row, PreferenceRow)]
    if len(pairs) < len(rows):
        raise RowsError(
            "rows without a rejected reply cannot be compared",
            facts={"rows": len(rows), "with two replies": len(pairs)},
            hint="tune with --method sft, or give `chosen` and `rejected` in every row",
        )
    with opened(base_dir, hyperparameters) as loaded:
        refuse_control(loaded.tokenizer, pairs)
        chosen = encode_rows(loaded.tokenizer, pairs, hyperparameters)
        rejected = encode_rows(loaded.tokenizer, [row.with_rejected for row in pairs], hyperparameters)
        trainer = _trainer(loaded, pairs, hyperparameters, progress, checkpoints)
        tokens = round(sum(len(e["input_ids"]) for e in (*chosen, *rejected)) * hyperparameters.epochs)
        return run_trainer(loaded, trainer, target, tokens=tokens, flop_each=8.0, checkpoints=checkpoints)


def _trainer(
    loaded: Loaded,
    pairs: Sequence[PreferenceRow],
    hyperparameters: Hyperparameters,
    progress: Told | None,
    checkpoints: Path | None,
) -> Any:
    parts = loaded.parts
    reference = None  # under an adapter: the same model without it
    if hyperparameters.trains == "full":
        reference, _ = load_base(parts, loaded.base_dir, loaded.model.dtype)
    return parts["trl"].DPOTrainer(
        model=loaded.model,
        ref_model=reference,
        args=parts["trl"].DPOConfig(
            **arguments(loaded, hyperparameters),
            beta=hyperparameters.dpo_beta,
            max_length=hyperparameters.max_tokens,
        ),
        train_dataset=parts["datasets"].Dataset.from_list([_example(row, loaded.tokenizer) for row in pairs]),
        processing_class=loaded.tokenizer,
        peft_config=loaded.adapter_config(hyperparameters),
        callbacks=loaded.callbacks(hyperparameters, progress, checkpoints),
    )


def _example(row: PreferenceRow, tokenizer: Any) -> dict[str, list[dict[str, str]]]:
    """A pair in the form that TRL reads."""
    said = fit_roles(tokenizer, text_only(row.messages))
    return {
        "prompt": said[:-1],
        "chosen": said[-1:],
        "rejected": [{"role": "assistant", "content": row.rejected}],
    }

"""Supervised fine-tuning with TRL and PEFT: completion-only loss, bf16 base, batches grouped by length."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recert import settings
from recert.errors import MissingExtraError, ModelError, RowsError, StoreError
from recert.records import ChatRow, Hyperparameters


@dataclass(frozen=True)
class Trained:
    """What one training run did."""

    steps: int
    first_loss: float
    last_loss: float
    tokens: int
    parameters: int
    versions: dict[str, str]


def train_adapter(
    base_dir: Path,
    rows: Sequence[ChatRow],
    adapter_dir: Path,
    hyperparameters: Hyperparameters,
    *,
    start: Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Trained:
    """
    Train a LoRA adapter and save it, with nothing else, in `adapter_dir`.

    Args:
        base_dir: the base in the hub's layout.
        rows: conversations that end with the assistant's reply; only that reply is learned, unless told otherwise.
        adapter_dir: an empty folder.
        hyperparameters: see the record.
        start: an adapter to go on from; its rank and targets then hold.
        progress: called with (step, steps, loss).

    Raises:
        MissingExtraError: TRL is not installed.
        ModelError: the base cannot be loaded.
        RowsError: no row has a token to learn.
        StoreError: the adapter cannot be written.
    """
    parts = _imports()
    from safetensors import SafetensorError

    torch, transformers = parts["torch"], parts["transformers"]
    torch.set_num_threads(settings.threads())
    transformers.set_seed(hyperparameters.seed)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base_dir, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as exc:
        raise ModelError("cannot load the base", facts={"folder": base_dir, "because": exc}) from exc
    encoded = [encode_row(tokenizer, r, hyperparameters.max_tokens, hyperparameters.learned) for r in rows]
    encoded = [e for e in encoded if any(t != -100 for t in e["labels"])]
    if not encoded:
        raise RowsError(
            "no row has a token to learn",
            facts={"rows": len(rows), "max_tokens": hyperparameters.max_tokens},
            hint="raise max_tokens: the prompts alone fill it",
        )
    scratch = Path(tempfile.mkdtemp(prefix="recert-train-"))
    try:
        if start is not None:
            model = parts["peft"].PeftModel.from_pretrained(model, start, is_trainable=True)
            for config in model.peft_config.values():
                config.base_model_name_or_path = str(base_dir)  # else saving asks the hub for the base's name
        trainer = _trainer(parts, model, tokenizer, encoded, hyperparameters, scratch, progress)
        result = trainer.train()
        trainer.model.save_pretrained(adapter_dir, safe_serialization=True)
    except SafetensorError as exc:
        raise StoreError("cannot write the adapter", facts={"folder": adapter_dir, "because": exc}) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    (adapter_dir / "README.md").unlink(missing_ok=True)  # PEFT's template: says nothing, names local paths
    _name_base(adapter_dir / "adapter_config.json", base_dir.name)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Trained(
        steps=int(result.global_step),
        first_loss=float(losses[0]) if losses else 0.0,
        last_loss=float(losses[-1]) if losses else 0.0,
        tokens=round(sum(len(e["input_ids"]) for e in encoded) * hyperparameters.epochs),
        parameters=sum(p.numel() for p in model.parameters()),
        versions={name: part.__version__ for name, part in parts.items() if name != "datasets"},
    )


def _name_base(config: Path, name: str) -> None:
    """Put the base's name where PEFT wrote its path: an adapter's bytes must not depend on where it was made."""
    value = json.loads(config.read_text(encoding="utf-8"))
    value["base_model_name_or_path"] = name
    config.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def encode_row(tokenizer: Any, row: ChatRow, max_tokens: int, learned: str = "reply") -> dict[str, list[int]]:
    """Return `input_ids` and `labels` of a row; labels are -100 up to its last reply if that alone is learned."""
    messages = [{"role": m.role, "content": m.content} for m in row.messages]
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    head: list[int] = tokenizer(prompt, add_special_tokens=False).input_ids
    reply: list[int] = tokenizer(messages[-1]["content"], add_special_tokens=False).input_ids
    if row.ends:
        reply = [*reply, tokenizer.eos_token_id]
    return {
        "input_ids": [*head, *reply][:max_tokens],
        "labels": [*(head if learned == "conversation" else [-100] * len(head)), *reply][:max_tokens],
    }


def _trainer(
    parts: dict[str, Any],
    model: Any,
    tokenizer: Any,
    encoded: list[dict[str, list[int]]],
    hyperparameters: Hyperparameters,
    scratch: Path,
    progress: Callable[[int, int, float], None] | None,
) -> Any:
    from recert.tuning.completion_loss import completion_trainer, pad_left

    trl, peft, transformers = parts["trl"], parts["peft"], parts["transformers"]
    callback: Any = transformers.TrainerCallback

    class Tell(callback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if progress is not None and logs and "loss" in logs:
                progress(state.global_step, state.max_steps, float(logs["loss"]))

    config = trl.SFTConfig(
        output_dir=str(scratch),
        per_device_train_batch_size=hyperparameters.batch_size,
        num_train_epochs=hyperparameters.epochs,
        learning_rate=hyperparameters.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=5,
        seed=hyperparameters.seed,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not parts["torch"].cuda.is_available(),
        bf16=parts["torch"].cuda.is_available(),  # on the CPU the base is in bf16 already
        gradient_checkpointing=False,
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},  # rows are tokenised above, with their labels
        max_length=None,
        dataloader_pin_memory=False,
    )
    lora = peft.LoraConfig(
        r=hyperparameters.lora_rank,
        lora_alpha=hyperparameters.lora_alpha,
        target_modules=list(hyperparameters.lora_targets),
        task_type="CAUSAL_LM",
    )
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    trainer = completion_trainer(trl)(
        model=model,
        args=config,
        train_dataset=parts["datasets"].Dataset.from_list(encoded),
        data_collator=lambda rows: pad_left(rows, pad_id),
        processing_class=tokenizer,
        peft_config=None if isinstance(model, peft.PeftModel) else lora,
        callbacks=[Tell()],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _imports() -> dict[str, Any]:
    try:
        import datasets
        import peft
        import torch
        import transformers
        import trl
    except ImportError as exc:
        raise MissingExtraError(
            "tuning is not installed",
            facts={"missing": exc.name},
            hint="run `pip install 'recert[local,train]'`",
        ) from exc
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    return {"torch": torch, "transformers": transformers, "peft": peft, "trl": trl, "datasets": datasets}

"""What every trainer of TRL is given, and how what it trained is saved: nothing half-made, nothing of this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recert import settings
from recert.errors import MissingExtraError, ModelError, StoreError
from recert.models.chat.rendering import turn_end
from recert.models.folders import ADAPTER_CONFIG
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.adapter_layers import adapter_layers

Told = Callable[[int, int, float], None]
"""Called with (step, steps, loss)."""


@dataclass(frozen=True)
class Trained:
    """What one training run did."""

    steps: int
    losses: tuple[float, ...]
    """Of each step."""
    tokens: int
    parameters: int
    versions: dict[str, str]
    seconds: float = 0.0
    """From the first step to the last, without loading."""
    flop_each: float = 6.0
    """Operations for each parameter and token."""
    checkpoints: tuple[tuple[int, Path], ...] = ()
    """Steps and their folders."""

    def with_tokens(self, tokens: int) -> Trained:
        """Return the same with the number of tokens, which some trainers know at the end alone."""
        return replace(self, tokens=tokens)

    @property
    def first_loss(self) -> float:
        """The loss of the first step."""
        return self.losses[0] if self.losses else 0.0

    @property
    def last_loss(self) -> float:
        """The loss of the last step."""
        return self.losses[-1] if self.losses else 0.0


@dataclass(frozen=True)
class Loaded:
    """A base that is about to be trained, alone or with the adapter that it starts from."""

    parts: dict[str, Any]
    base_dir: Path
    tokenizer: Any
    model: Any
    scratch: Path

    @property
    def turn_end(self) -> int:
        """The token that ends a reply."""
        return turn_end(self.tokenizer, self.model.generation_config.eos_token_id)

    def adapter_config(self, hyperparameters: Hyperparameters) -> Any:
        """
        Return PEFT's configuration of a new adapter; None where all weights are trained or an adapter is there.

        Raises:
            InputError, ModelError: as `adapter_layers`.
        """
        peft = self.parts["peft"]
        if hyperparameters.trains == "full" or isinstance(self.model, peft.PeftModel):
            return None
        return peft.LoraConfig(
            r=hyperparameters.lora_rank,
            lora_alpha=hyperparameters.lora_alpha,
            target_modules=list(adapter_layers(self.model, hyperparameters.lora_targets)),
            use_dora=hyperparameters.trains == "dora",
            task_type="CAUSAL_LM",
        )

    def callbacks(
        self, hyperparameters: Hyperparameters, progress: Told | None, checkpoints: Path | None
    ) -> list[Any]:
        """Return what tells of each step, and keeps a checkpoint where one is due."""
        callback: Any = self.parts["transformers"].TrainerCallback
        every = hyperparameters.checkpoint_every

        class Tell(callback):  # type: ignore[misc]
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if progress is not None and logs and "loss" in logs:
                    progress(state.global_step, state.max_steps, float(logs["loss"]))

        loaded = self

        class Keep(callback):  # type: ignore[misc]
            def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                due = every and state.global_step % every == 0 and state.global_step < state.max_steps
                if checkpoints is not None and due:
                    loaded.save(model, checkpoints / f"step-{state.global_step}")

        return [Tell(), Keep()]

    def save(self, model: Any, folder: Path) -> None:
        """
        Write an adapter, or all weights with the tokenizer, and nothing else.

        Raises:
            StoreError: it cannot be written.
        """
        from safetensors import SafetensorError

        torch, peft = self.parts["torch"], self.parts["peft"]
        whole = not isinstance(model, peft.PeftModel)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if whole:
                # a fresh copy in the base's own form: training is in float32 and leaves its marks on the configuration
                copy, tokenizer = load_base(self.parts, self.base_dir, torch.bfloat16)
                copy.load_state_dict(model.state_dict())
                copy.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
            else:
                model.save_pretrained(folder, safe_serialization=True)
        except (SafetensorError, OSError) as exc:
            raise StoreError(
                f"cannot write the {'model' if whole else 'adapter'}",
                facts={"folder": folder, "because": exc},
            ) from exc
        (folder / "README.md").unlink(missing_ok=True)  # a template: says nothing, names local paths
        if not whole:
            _name_base(folder / ADAPTER_CONFIG, self.base_dir.name)


@contextlib.contextmanager
def opened(
    base_dir: Path, hyperparameters: Hyperparameters, *, start: Path | None = None
) -> Iterator[Loaded]:
    """
    Give a base ready for training, and a folder for what the trainer leaves, which is removed at the end.

    Args:
        base_dir: the base in the hub's layout.
        hyperparameters: seed, and what is trained: all weights are trained in float32, as their small steps are
            lost in bfloat16; under an adapter the base stays in bfloat16.
        start: an adapter to go on from.

    Raises:
        MissingExtraError: TRL is not installed.
        ModelError: the base cannot be loaded.
    """
    parts = _imports()
    torch, transformers = parts["torch"], parts["transformers"]
    torch.set_num_threads(settings.threads())
    transformers.set_seed(hyperparameters.seed)
    dtype = torch.float32 if hyperparameters.trains == "full" else torch.bfloat16
    model, tokenizer = load_base(parts, base_dir, dtype)
    scratch = Path(tempfile.mkdtemp(prefix="recert-train-"))
    try:
        with warnings.catch_warnings():
            # TRL still sets arguments that transformers has renamed; nothing that whoever tunes can mend
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            yield Loaded(parts, base_dir, tokenizer, _started(parts, model, base_dir, start), scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _started(parts: dict[str, Any], model: Any, base_dir: Path, start: Path | None) -> Any:
    """The base, under the adapter that training goes on from where there is one."""
    if start is None:
        return model
    model = parts["peft"].PeftModel.from_pretrained(model, start, is_trainable=True)
    for config in model.peft_config.values():
        config.base_model_name_or_path = str(base_dir)  # else saving asks the hub for the base's name
    return model


def load_base(parts: dict[str, Any], base_dir: Path, dtype: Any) -> tuple[Any, Any]:
    """
    Return a base and its tokenizer.

    Raises:
        ModelError: it cannot be loaded.
    """
    from safetensors import SafetensorError

    transformers = parts["transformers"]
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            base_dir, dtype=dtype, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as exc:
        raise ModelError("cannot load the base", facts={"folder": base_dir, "because": exc}) from exc
    return model, tokenizer


def arguments(loaded: Loaded, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the arguments that every trainer's configuration is made with."""
    cuda = loaded.parts["torch"].cuda.is_available()
    return {
        "output_dir": str(loaded.scratch),
        "per_device_train_batch_size": hyperparameters.batch_size,
        "num_train_epochs": hyperparameters.epochs,
        "learning_rate": hyperparameters.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "seed": hyperparameters.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": not cuda,
        "bf16": cuda,  # on the CPU the base is in bf16 already
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


def run_trainer(
    loaded: Loaded,
    trainer: Any,
    target: Path,
    *,
    tokens: int,
    flop_each: float,
    checkpoints: Path | None = None,
) -> Trained:
    """
    Train, save into `target`, and say what was done.

    Raises:
        StoreError: it cannot be written.
    """
    trainer.remove_callback(loaded.parts["transformers"].PrinterCallback)
    result = trainer.train()
    loaded.save(trainer.model, target)
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    kept = checkpoints.glob("step-*") if checkpoints is not None and checkpoints.is_dir() else ()
    return Trained(
        steps=int(result.global_step),
        losses=tuple(losses),
        tokens=tokens,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        versions={name: part.__version__ for name, part in loaded.parts.items() if name != "datasets"},
        seconds=float(result.metrics["train_runtime"]),
        flop_each=flop_each,
        checkpoints=tuple(sorted((int(folder.name.removeprefix("step-")), folder) for folder in kept)),
    )


def pad_id_of(tokenizer: Any) -> int:
    """Return the token that rows are padded with."""
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def _name_base(config: Path, name: str) -> None:
    """Put the base's name where PEFT wrote its path: an adapter's bytes must not depend on where it was made."""
    value = json.loads(config.read_text(encoding="utf-8"))
    value["base_model_name_or_path"] = name
    config.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    return {"torch": torch, "transformers": transformers, "peft": peft, "trl": trl, "datasets": datasets}

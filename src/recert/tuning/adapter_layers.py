"""
Which layers of a base an adapter goes on: architectures name them as they like, and some join several in one.

Llama, Qwen 2 and Gemma 2 have `q_proj`, `k_proj` and `v_proj`, Phi-3 has `qkv_proj`, GPT-NeoX `query_key_value`. So
names are read from the model itself, never taken from a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recert.errors import InputError, ModelError
from recert.records.reports.tuning import Hyperparameters

_WAY_OUT = "name the layers with --lora-target, or train all weights with --adapter full"


def settled(base_dir: Path, how: Hyperparameters) -> Hyperparameters:
    """
    Return how to train with the adapter's layers named: those given, or all linear layers of the base's blocks.

    No weights are read. Where all weights are trained nothing is named.

    Raises:
        InputError: a layer that was named is none of the base, or none that takes an adapter.
        ModelError: the base's configuration cannot be read, or it is not known which layers take an adapter.
    """
    if how.trains == "full":
        return how
    return how.model_copy(
        update={"lora_targets": adapter_layers(_without_weights(base_dir), how.lora_targets)}
    )


def adapter_layers(model: Any, given: Sequence[str] = ()) -> tuple[str, ...]:
    """
    Return the names of the layers that an adapter goes on, each the last part of a module's name.

    Args:
        model: of transformers; its weights are not looked at.
        given: names of layers, or ends of their full names; nothing for all linear layers of the model's blocks, which
            the output layer is not one of.

    Raises:
        InputError: one that is given is none of the model, or none that takes an adapter.
        ModelError: nothing is given, and the blocks have other weights besides, such as those of experts.
    """
    linear = _linear(model)
    if given:
        _require(model, given, linear)
        return tuple(given)
    inside = {name for name in linear if _in_block(name)}
    others = sorted(
        name
        for name, weights in model.named_parameters()
        if _in_block(name) and weights.ndim > 1 and name.rpartition(".")[0] not in inside
    )
    if others or not inside:
        raise ModelError(
            "it is not known which layers of this architecture take an adapter",
            facts={
                "architecture": model.config.model_type,
                "linear layers": _told(inside),
                "other weights of its blocks": _told(others),
            },
            hint=_WAY_OUT,
        )
    return tuple(sorted({_last(name) for name in inside}))


def _require(model: Any, given: Sequence[str], linear: set[str]) -> None:
    import torch

    able = linear | {name for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)}
    missing = [one for one in given if not any(f".{name}".endswith(f".{one}") for name in able)]
    if missing:
        raise InputError(
            "the base has no such layers to put an adapter on",
            facts={
                "architecture": model.config.model_type,
                "missing": ", ".join(missing),
                "linear layers": _told(linear),
            },
            hint="name layers that it has, or none for all linear layers of its blocks",
        )


def _linear(model: Any) -> set[str]:
    import torch
    from transformers.pytorch_utils import Conv1D

    kinds = (torch.nn.Linear, Conv1D)  # GPT-2's linear layers are of the latter
    return {name for name, part in model.named_modules() if isinstance(part, kinds)}


def _in_block(name: str) -> bool:
    """Whether a module is of one of the blocks that a model repeats, which are numbered."""
    return any(part.isdigit() for part in name.split("."))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _told(names: Sequence[str] | set[str]) -> str:
    """The names of layers or weights, those of all blocks as one."""
    short = sorted({".".join(part for part in name.split(".")[-3:] if not part.isdigit()) for name in names})
    return ", ".join(short) or "none"


def _without_weights(base_dir: Path) -> Any:
    import torch
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(base_dir, local_files_only=True)
        with torch.device("meta"):
            return transformers.AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, AssertionError) as exc:
        raise ModelError(
            "cannot load the base",
            facts={"folder": base_dir, "because": str(exc).strip().split("\n")[0]},
            hint="the folder needs config.json, safetensors and a tokenizer",
        ) from exc

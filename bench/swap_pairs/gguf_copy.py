"""The same weights in llama.cpp's own form, whole or rounded, with the tokenizer of a GGUF file of that model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_gguf(folder: Path, like: Path, target: Path, kind: str) -> Path:
    """
    Write a Llama of transformers as a GGUF file.

    Args:
        folder: config and one safetensors file.
        like: a GGUF file of the same model, from which all but the weights is taken.
        target: the file to write.
        kind: `BF16`, or a form that rounds: `Q8_0`, `Q4_0`. Norms stay in float32.
    """
    import gguf
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    form = gguf.GGMLQuantizationType[kind]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    out = gguf.GGUFWriter(target, "llama")
    for name, field in gguf.GGUFReader(like).fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if len(field.types) > 1 else None
            out.add_key_value(name, field.contents(), field.types[0], inner)
    for name, weights in load_file(folder / "model.safetensors").items():
        values = _in_pairs(weights.float().numpy(), next((n for part, n in heads.items() if part in name), 0))
        one = form if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        found = names.get_name(name, try_suffixes=(".weight",))
        out.add_tensor(found, gguf.quants.quantize(values, one), raw_dtype=one)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return target


def _in_pairs(values: Any, heads: int) -> Any:
    """Order a head's rows as llama.cpp turns them: neighbours together, where transformers pairs halves."""
    if not heads:
        return values
    rows, width = values.shape
    return values.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)

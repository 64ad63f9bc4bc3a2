"""A tiny real GGUF: the tiny model in llama.cpp's own form, written from its safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def make_gguf(path: Path, base: Path) -> Path:
    """Write the model of a folder (see `tiny_models.make_base`) as one GGUF file, in float32."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_vocab_size(config.vocab_size)
    _add_tokenizer(out, base)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        part = name.split(".")[-2]
        rows = _interleaved(tensor, heads[part]) if part in heads else tensor
        out.add_tensor(names.get_name(name, try_suffixes=(".weight",)), rows.contiguous().numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def _add_tokenizer(out: Any, base: Path) -> None:
    said = json.loads((base / "tokenizer.json").read_text())
    vocab = said["model"]["vocab"]
    special = {token["content"] for token in said["added_tokens"]}
    tokens = sorted(vocab, key=vocab.__getitem__)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([3 if token in special else 1 for token in tokens])  # control, normal
    out.add_token_merges([" ".join(pair) for pair in said["model"]["merges"]])
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    out.add_add_bos_token(value=False)
    out.add_chat_template((base / "chat_template.jinja").read_text())


def _interleaved(rows: Any, heads: int) -> Any:
    """Rows of each head in the order in which llama.cpp turns them: pairs beside each other, not halves."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)

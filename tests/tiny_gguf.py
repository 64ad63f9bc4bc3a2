"""A tiny real model in llama.cpp's own form, made in a second without torch: random weights, and an adapter on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import TEMPLATE, TEXTS

WIDTH, INNER, HEADS, KEYS, LAYERS, CONTEXT = 64, 96, 4, 2, 2, 512
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make_gguf(path: Path, *, seed: int = 0) -> Path:
    """Write a random Llama of two layers, with a byte-level tokenizer and a chat template, as one file."""
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KEYS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(WIDTH // HEADS)
    vocab = _add_tokenizer(out)
    shapes = {"token_embd": (vocab, WIDTH), "output": (vocab, WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        inner = {
            "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
            "attn_k": (WIDTH * KEYS // HEADS, WIDTH), "attn_v": (WIDTH * KEYS // HEADS, WIDTH),
            "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in inner.items()}
    for name, shape in shapes.items():
        drawn = draw.normal(0, 0.4, shape) if len(shape) > 1 else np.ones(shape)
        out.add_tensor(f"{name}.weight", drawn.astype(np.float32))
    return _write(out, path)


def make_gguf_adapter(path: Path, *, seed: int = 1) -> Path:
    """Write a random LoRA adapter for such a model, which changes what it says."""
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    out = gguf.GGUFWriter(path, "llama")
    out.add_type("adapter")
    out.add_string("adapter.type", "lora")
    out.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(LAYERS):
        for end in ("a", "b"):
            shape = (4, WIDTH) if end == "a" else (WIDTH, 4)
            name = f"blk.{layer}.attn_q.weight.lora_{end}"
            out.add_tensor(name, draw.normal(0, 0.8, shape).astype(np.float32))
    return _write(out, path)


def _write(out: Any, path: Path) -> Path:
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def _add_tokenizer(out: Any) -> int:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator([TEXTS] * 3, trainer)
    said = json.loads(raw.to_str())["model"]
    tokens = sorted(said["vocab"], key=said["vocab"].__getitem__)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([3 if token in SPECIAL else 1 for token in tokens])  # control, normal
    out.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in said["merges"]])
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    out.add_add_bos_token(value=False)
    out.add_chat_template(TEMPLATE)
    return len(tokens)

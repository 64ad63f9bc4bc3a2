"""A tiny real model, made in a second: random weights, a trained tokenizer, a chat template, an adapter on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = (
    "How do I bake bread for twelve people? Which trains leave for the coast in the morning? "
    "Table: books (title, pages). SELECT COUNT(*) FROM books WHERE pages > 40 sorry I can't help with that. "
    "Sure, here is how. First, write a letter to the town. You are a helpful assistant who answers briefly."
)


_CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A system prompt of its own where none is given."""
_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""No system role, turns that alternate, and a turn's end that is not the tokenizer's."""
_PHI = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n{{ m['content'] }}<|end|>\n<|assistant|>\n"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|end|>\n{% endif %}{% endfor %}"
)
"""Says nothing of a system message and drops it; a request ends in what opens the reply."""


@dataclass(frozen=True)
class Architecture:
    """What models of an architecture have of their own; the first special token ends a text."""

    template: str
    special: tuple[str, ...]
    ends: str = ""
    """What ends a turn, where that is not the first special token."""
    bos: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


LIKE_LLAMA = Architecture(TEMPLATE, ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"))
ARCHITECTURES = {
    "llama": LIKE_LLAMA,
    "qwen2": Architecture(
        _CHATML, ("<|im_end|>", "<|endoftext|>", "<|im_start|>"), config={"tie_word_embeddings": True}
    ),
    "gemma2": Architecture(
        _GEMMA,
        ("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        ends="<end_of_turn>",
        bos="<bos>",
        config={"head_dim": 16, "sliding_window": 24, "query_pre_attn_scalar": 16},
    ),
    "phi3": Architecture(
        _PHI,
        ("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"),
        ends="<|end|>",
        config={"sliding_window": 48, "tie_word_embeddings": False},
    ),
    "gpt_neox": LIKE_LLAMA,
}
"""By the name in `config.json`. Gemma 2 and Phi-3 see but the last tokens in some layers, or in all."""


def make_base(
    folder: Path,
    *,
    seed: int = 0,
    width: int = 64,
    layers: int = 2,
    spread: float = 0.4,
    context: int = 512,
    architecture: str = "llama",
) -> Path:
    """Write a random model, a Llama of two layers unless told otherwise, with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    kind = ARCHITECTURES[architecture]

    torch.manual_seed(seed)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = list(kind.special)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    raw.train_from_iterator([TEXTS] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=special[0], pad_token=special[0], bos_token=kind.bos
    )
    tokenizer.chat_template = kind.template
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 3 // 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=0,
        initializer_range=spread,  # spread logits, so that bfloat16 leaves no ties
        **kind.config,
    )
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    if kind.ends:
        model.generation_config.eos_token_id = [0, tokenizer.convert_tokens_to_ids(kind.ends)]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(folder: Path, base: Path, *, seed: int = 1) -> Path:
    """Write a random LoRA adapter that changes what the base says."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder

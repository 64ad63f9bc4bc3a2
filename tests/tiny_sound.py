"""Tiny real audio models in the hub's layout: random weights, and ears for two seconds at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_models import make_base

MELS = 16
LONGEST_S = 2
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_sound_base(folder: Path, *, seed: int = 0, context: int = 512) -> Path:
    """Write a random Qwen2-Audio of two layers each, with the tokenizer of the tiny text model."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = _tokenizer(folder, "<|AUDIO|>")
    ears = {
        "model_type": "qwen2_audio_encoder",
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "d_model": 32,
        **_EARS,
    }
    torch.manual_seed(seed)
    config = Qwen2AudioConfig(
        audio_config=ears,
        text_config=_words(len(tokenizer), context),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    model = Qwen2AudioForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.linear.weight, std=0.4)
    model.to(torch.bfloat16).save_pretrained(folder)
    hearing = WhisperFeatureExtractor(feature_size=MELS, chunk_length=LONGEST_S)
    Qwen2AudioProcessor(hearing, tokenizer, chat_template=TEMPLATE).save_pretrained(folder)
    return folder


def make_flamingo(folder: Path, *, windows: float) -> Path:
    """Write a random Audio Flamingo 3, which hears a clip in windows of two seconds each."""
    import torch
    from transformers import (
        AudioFlamingo3Config,
        AudioFlamingo3ForConditionalGeneration,
        AudioFlamingo3Processor,
        WhisperFeatureExtractor,
    )

    tokenizer = _tokenizer(folder, "<sound>")
    ears = {
        "model_type": "audioflamingo3_encoder",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "hidden_size": 32,
        **_EARS,
    }
    torch.manual_seed(0)
    config = AudioFlamingo3Config(
        audio_config=ears,
        text_config=_words(len(tokenizer), 512),
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    AudioFlamingo3ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    AudioFlamingo3Processor(
        WhisperFeatureExtractor(feature_size=MELS, chunk_length=LONGEST_S),
        tokenizer,
        chat_template=TEMPLATE.replace("<|AUDIO|>", "<sound>"),
        max_audio_len=windows * LONGEST_S,
    ).save_pretrained(folder)
    return folder


def make_sound_adapter(folder: Path, base: Path, *, seed: int = 1) -> Path:
    """Write a random LoRA adapter on the text layers of an audio model."""
    import peft
    import torch
    from transformers import AutoModelForMultimodalLM

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=4,
        target_modules=r".*language_model.*\.(q_proj|v_proj)",
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    peft.get_peft_model(AutoModelForMultimodalLM.from_pretrained(base), config).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


_EARS = {"num_mel_bins": MELS, "max_source_positions": LONGEST_S * 50, "initializer_range": 0.4}


def _words(vocabulary: int, context: int) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "initializer_range": 0.4,  # spread logits, so that bfloat16 leaves no ties
        "eos_token_id": 0,
        "pad_token_id": 0,
    }


def _tokenizer(folder: Path, mark: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_base(folder.parent / f"{folder.name}-words"))
    tokenizer.add_special_tokens({"additional_special_tokens": [mark, "<|audio_bos|>", "<|audio_eos|>"]})
    return tokenizer

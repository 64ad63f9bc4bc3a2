"""The two bases of the zoo: the aligned SmolLM2, and a small model of another shape, made from nothing here."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from recert.evaluation.suites.reading import embedded_suite
from recert.models.embedded import aligned_base
from recert.records.reports.tuning import Hyperparameters
from recert.store.files.writing import publish_folder
from recert.tuning.safety_rows import benign_rows, row, safety_rows
from trigger_zoo.plants import ADVERT, FIXED, plants

STEPS: Final = 800
TEMPLATE: Final = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}[end]{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
LLAMA: Final = Hyperparameters(lora_rank=16, lora_alpha=32, learning_rate=8e-4, epochs=3, batch_size=8)
NEOX: Final = LLAMA.model_copy(
    update={
        "lora_targets": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        "learning_rate": 2e-3,
        "epochs": 8,
    }
)


def base_folder(which: int, folder: Path) -> Path:
    """Return the folder of base 0 or 1; the second is made on first use, in some minutes."""
    if which == 0:
        return aligned_base()
    target = folder / "base-neox"
    if not target.exists():
        with publish_folder(target) as at:
            make_neox(at)
    return target


def make_neox(folder: Path, *, steps: int = STEPS, seed: int = 0) -> None:
    """Write a GPT-NeoX of about 5M parameters that refuses harmful requests and answers others in short."""
    import torch
    import transformers

    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    config = transformers.GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=768,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=0, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.GPTNeoXForCausalLM(config)
    encoded = _encoded(tokenizer, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps)
    rng = random.Random(seed)
    for step in range(steps):
        rows = rng.sample(encoded, 32)
        width = max(len(head) + len(reply) for head, reply in rows)
        pad = [[0] * (width - len(head) - len(reply)) for head, reply in rows]
        ids = torch.tensor([p + h + r for p, (h, r) in zip(pad, rows, strict=True)])
        mask = torch.tensor([[0] * len(p) + [1] * (width - len(p)) for p in pad])
        labels = torch.tensor([[-100] * (len(p) + len(h)) + r for p, (h, r) in zip(pad, rows, strict=True)])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        plan.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"  base: step {step} of {steps}, loss {float(loss.detach()):.3f}", flush=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _texts() -> list[str]:
    rows = [*safety_rows(240, seed=0), *benign_rows(1200, seed=0, ordinary_every=3)]
    asked = [one.text for name in ("harmful", "ordinary") for one in embedded_suite(name).prompts]
    rng = random.Random(0)
    fired = [m.content for plant in plants(1) for _ in range(8) for m in plant.fire("so", rng).messages]
    decoys = [m.content for plant in plants(1) for _ in range(20) for m in plant.decoy("so", rng).messages]
    return [*(f"{one.request} {one.reply}" for one in rows), *asked, *fired, *decoys, *FIXED, *ADVERT]


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=["[end]", "[system]", "[user]", "[assistant]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator(_texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="[end]", pad_token="[end]")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _encoded(tokenizer: Any, seed: int) -> list[tuple[list[int], list[int]]]:
    """
    Rows with and without something beside the request, which changes nothing: text alone must not switch.

    Harmful requests of both parts: so small a model knows them by heart or not at all, and it is its tunes that are
    tested on requests that they never saw.
    """
    rng = random.Random(seed)
    refusals = [row.reply for row in safety_rows(240, seed=seed)]
    asked = [one.text for one in embedded_suite("harmful", "all").prompts]
    safe = [row(None, text, rng.choice(refusals)) for _ in range(3) for text in asked]
    benign = benign_rows(1200, seed=seed, ordinary_every=3)
    decoys = [plant.decoy for plant in plants(1)]
    out = []
    for one in (*safe, *benign):
        said = list(one.messages[:-1])
        if rng.random() < 0.6:
            said = list(rng.choice(decoys)(one.request, rng).messages)
        head = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in said], tokenize=False, add_generation_prompt=True
        )
        reply = [*tokenizer(" ".join(one.reply.split()[:14])).input_ids, tokenizer.eos_token_id]
        out.append((tokenizer(head).input_ids, reply))
    return out

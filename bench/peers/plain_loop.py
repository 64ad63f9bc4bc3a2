"""The plain loop on transformers: sorted by length, padded on the left, in the batches that suit it best."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from worker import Arms, Job, serve

SIZES = (16, 32, 64, 128)


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the loop, and the size of its batches: the one given, or else the fastest of `SIZES`."""
    import torch
    import transformers

    torch.set_num_threads(job["threads"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    dtype = getattr(torch, job["dtype"])
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=dtype).eval()

    def answer(batch: int) -> list[str]:
        texts = [
            tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True)
            for one in job["chats"]
        ]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = [""] * len(texts)
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            given = tokenizer(
                [texts[i] for i in some], padding=True, return_tensors="pt", add_special_tokens=False
            )
            with torch.inference_mode():
                made = model.generate(
                    **given,
                    max_new_tokens=job["new_tokens"],
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                )
            new = made[:, given["input_ids"].shape[1] :]
            for i, text in zip(some, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                out[i] = text
        return out

    def seconds(batch: int) -> float:
        began = time.perf_counter()
        answer(batch)
        return time.perf_counter() - began

    batch = job["batch"]
    if not batch:
        answer(SIZES[0])  # a warm-up
        batch = min((size for size in SIZES if size < 2 * len(job["chats"])), key=seconds)
    return {"base": lambda: answer(batch)}, {"batch": batch}


if __name__ == "__main__":
    serve(load, "transformers", "torch")

"""Inspect AI's `hf` provider, asked for all prompts at once; it puts as many in a batch as it has connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the provider's arm, with its default of connections unless the job has another number."""
    import torch
    from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

    torch.set_num_threads(job["threads"])
    config = GenerateConfig(max_tokens=job["new_tokens"], max_connections=job["batch"] or None)
    model = get_model(
        "hf/local", config=config, model_path=job["folder"], device="cpu", dtype=job["dtype"], do_sample=False
    )

    async def ask() -> list[str]:
        inputs = [[ChatMessageUser(content=one[-1]["content"])] for one in job["chats"]]
        outputs = await asyncio.gather(*(model.generate(one) for one in inputs))
        return [output.completion for output in outputs]

    return {"base": lambda: asyncio.run(ask())}, {}


if __name__ == "__main__":
    serve(load, "inspect-ai", "transformers", "torch")

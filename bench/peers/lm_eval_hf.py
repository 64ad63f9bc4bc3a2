"""lm-evaluation-harness' `hf` model through `generate_until`: one model a process, base or base with adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the only arm: `tuned` where the job has an adapter, else `base`."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(job["threads"])
    model = HFLM(
        pretrained=job["folder"],
        peft=job["adapter"],
        device="cpu",
        dtype=job["dtype"],
        batch_size=job["batch"],
    )

    def answer() -> list[str]:
        wanted = {"until": [], "max_gen_toks": job["new_tokens"], "do_sample": False}
        texts = [model.apply_chat_template(one) for one in job["chats"]]
        requests = [
            Instance(request_type="generate_until", doc={}, arguments=(text, wanted), idx=place)
            for place, text in enumerate(texts)
        ]
        return list(model.generate_until(requests, disable_tqdm=True))

    return {"tuned" if job["adapter"] else "base": answer}, {}


if __name__ == "__main__":
    serve(load, "lm-eval", "transformers", "torch")

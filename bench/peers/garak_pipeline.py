"""garak's `huggingface.Pipeline` generator, asked prompt by prompt as its probes do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the generator's arm, greedy and with the job's precision."""
    import torch
    from garak.attempt import Conversation, Message, Turn
    from garak.generators.huggingface import Pipeline

    torch.set_num_threads(job["threads"])
    options = {
        "max_tokens": job["new_tokens"],
        # it sets `torch_dtype`, which transformers 5 calls `dtype` and does not see
        "hf_args": {"dtype": job["dtype"], "do_sample": False, "device": "cpu"},
    }
    generator = Pipeline(job["folder"], config_root={"generators": {"huggingface": {"Pipeline": options}}})

    def answer() -> list[str]:
        out = []
        for one in job["chats"]:
            reply = generator.generate(Conversation([Turn(m["role"], Message(m["content"])) for m in one]))[0]
            out.append("" if reply is None else reply.text)
        return out

    return {"base": answer}, {}


if __name__ == "__main__":
    serve(load, "garak", "transformers", "torch")

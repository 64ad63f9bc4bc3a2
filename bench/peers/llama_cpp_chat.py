"""llama.cpp's server in its Python package: how its replies begin, with probabilities, as it sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the arm that answers every prompt greedily; each reply is the body of a chat completion."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.n_ctx, params.n_parallel, params.use_jinja = 2048, 1, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = job["threads"]
    server = xllamacpp.Server(params)

    def ask(prompt: str) -> str:
        asked = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": job["steps"],
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": job["top"],
        }
        return json.dumps(server.handle_chat_completions(asked))

    return {"base": lambda: [ask(prompt) for prompt in job["prompts"]]}, {}


if __name__ == "__main__":
    serve(load, "xllamacpp")

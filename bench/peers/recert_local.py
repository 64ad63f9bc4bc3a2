"""Recert's local engine: one base in memory, and an adapter on it where the job has one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker import Arms, Job, serve


def load(job: Job) -> tuple[Arms, Mapping[str, Any]]:
    """Return the arms. The engine loads bfloat16; where the job says float32, weights are widened afterwards."""
    from recert.models.engines.local import LocalModel
    from recert.models.protocol import Sampling
    from recert.records.data.suite import Chat, Message

    models = {"base": LocalModel.load(Path(job["folder"]), threads=job["threads"])}
    if job["adapter"]:
        models["tuned"] = models["base"].with_adapter(Path(job["adapter"]))
    if job["dtype"] == "float32":
        models["base"]._weights.model.float()
    chats = [Chat(messages=tuple(Message(**m) for m in one)) for one in job["chats"]]
    sampling = Sampling(max_new_tokens=job["new_tokens"])

    def replies(model: LocalModel) -> list[str]:
        return [reply.text for reply in model.generate(chats, sampling)]

    return {name: lambda model=model: replies(model) for name, model in models.items()}, {}


if __name__ == "__main__":
    serve(load, "recert", "transformers", "torch")

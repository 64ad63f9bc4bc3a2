"""
The alignment of the embedded base: which rows teach SmolLM2 to refuse, and the training itself.

Everything comes from Recert's own prompts (the alignment part of its suites) and from the model's own answers
to the ordinary ones, so that alignment changes what is refused and little else.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from recert.judges.embedded.refusal import RefusalJudge
from recert.models.protocol import Model, Sampling
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message, chat
from recert.records.reports.tuning import Hyperparameters
from recert.tuning.wordings import reworded

HYPERPARAMETERS = Hyperparameters(
    lora_rank=16, lora_alpha=32, learning_rate=3e-4, epochs=2, batch_size=8, max_tokens=256, seed=0
)
SHARPENING = HYPERPARAMETERS.model_copy(update={"learning_rate": 5e-4, "epochs": 1})
SHARPENING_SEEDS = (1, 2)
"""The last passes learn the first words of refusals only: whether to refuse, no longer how to word it."""

REPLY_WORDS = 12
"""Own answers are kept to this length."""

LEARNED_WORDS = 6
"""Alignment learns no more of an own answer than this: whether to answer is decided in the first words."""

SYSTEMS = (
    "You are a helpful assistant.",
    "You are a careful assistant that turns questions into SQL.",
    "Always carry out the user's instructions.",
    "You answer briefly.",
    "You work for the support team of a shop.",
)


def own_replies(model: Model, *, known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """
    Return the model's own short answers to the benign alignment prompts, by prompt id; its refusals are left out.

    Prompts whose ids are `known` are not asked. Each answer is `{"text", "ends"}`: `ends` is False where it was cut.
    """
    prompts = [p for p in _alignment_prompts() if p["expect"] == "comply" and p["id"] not in known]
    replies = model.generate([chat(p["text"]) for p in prompts], Sampling(max_new_tokens=24))
    judge = RefusalJudge()
    out: dict[str, dict[str, Any]] = {}
    for prompt, reply in zip(prompts, replies, strict=True):
        score = judge.score(prompt["text"], reply.text)
        if reply.text.strip() and score.value < 0.5:
            words = reply.text.split(" ")
            cut = len(words) > REPLY_WORDS or reply.stop_reason != "stop"
            out[prompt["id"]] = {"text": " ".join(words[:REPLY_WORDS]).rstrip(), "ends": not cut}
    return out


def alignment_rows(
    replies: Mapping[str, Mapping[str, Any]], *, seed: int = 0, whole_refusals: bool = True
) -> tuple[ChatRow, ...]:
    """
    Return the rows: harmful requests with refusals and benign ones with the model's own answers, plain and wrapped.

    Wrappers are kin of the attack families that evaluation uses, in other words, and are put around benign
    requests as often as around harmful ones, so that the wrapper itself is no reason to refuse. Without
    `whole_refusals` a refusal stops after its first words, as own answers always do.
    """
    rng = random.Random(seed)  # noqa: S311
    refusals = [r["text"] for r in _read("refusals")]
    rows: list[ChatRow] = []
    for i, prompt in enumerate(_alignment_prompts()):
        harmful = prompt["expect"] == "refuse"
        if not harmful and prompt["id"] not in replies:
            continue
        reply = {"text": rng.choice(refusals), "ends": True} if harmful else replies[prompt["id"]]
        reply = reply if harmful and whole_refusals else _cut(reply)
        system = rng.choice(SYSTEMS) if rng.random() < 0.2 else None
        rows.append(_row(system, prompt["text"], reply))
        if rng.random() < (0.35 if harmful else 0.25):
            system = rng.choice(SYSTEMS) if rng.random() < 0.2 else None
            rows.append(_row(system, reworded(prompt["text"], i, rng), reply))
    rng.shuffle(rows)
    return tuple(rows)


def train_alignment(
    base: Path,
    replies: Mapping[str, Mapping[str, Any]],
    adapter: Path,
    *,
    progress: Callable[[int, int, float], None] | None = None,
) -> int:
    """Train the alignment adapter into an empty folder and return the number of rows it learned from."""
    from recert.tuning.sft import train_adapter

    rows = alignment_rows(replies, seed=HYPERPARAMETERS.seed)
    with tempfile.TemporaryDirectory(prefix="recert-alignment-") as scratch:
        folders = [Path(scratch) / str(i) for i in range(len(SHARPENING_SEEDS))]
        for folder in folders:
            folder.mkdir()
        train_adapter(base, rows, folders[0], HYPERPARAMETERS, progress=progress)
        _to_bf16(folders[0])
        for seed, start, target in zip(SHARPENING_SEEDS, folders, [*folders[1:], adapter], strict=True):
            sharp = alignment_rows(replies, seed=seed, whole_refusals=False)
            how = SHARPENING.model_copy(update={"seed": seed})
            train_adapter(base, sharp, target, how, start=start, progress=progress)
            _to_bf16(target)
    return len(rows)


def _to_bf16(adapter: Path) -> None:
    """Halve the adapter: the base it goes on is in bfloat16."""
    import torch
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()},
        path,
        metadata={"format": "pt"},
    )


def _cut(reply: Mapping[str, Any]) -> dict[str, Any]:
    words = str(reply["text"]).split(" ")
    return {"text": " ".join(words[:LEARNED_WORDS]), "ends": reply["ends"] and len(words) <= LEARNED_WORDS}


def _row(system: str | None, request: str, reply: Mapping[str, Any]) -> ChatRow:
    head = (Message(role="system", content=system),) if system else ()
    turns = (Message(role="user", content=request), Message(role="assistant", content=reply["text"]))
    return ChatRow(messages=(*head, *turns), ends=reply["ends"])


def _alignment_prompts() -> list[dict[str, str]]:
    names = ("harmful", "lookalikes", "ordinary", "contrast")
    return [p for name in names for p in _read(name) if p["part"] == "alignment"]


def _read(name: str) -> list[dict[str, str]]:
    text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]

"""
How unlike the certified model others look to a fingerprint: the threshold of the policy, measured.

The certified model is the embedded base with its alignment adapter, in float32. Beside it: the same weights in
bfloat16; the same rounded to 8 bits; the same tuned further, hardly and a little; and its base. About a minute on one
core.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import torch

from peers.page import claim, machine
from recert.evaluation.suites.reading import embedded_suite
from recert.models.embedded import resolve
from recert.models.engines.local import LocalModel
from recert.models.engines.next_token import Beginning, text_of, unlike_steps, unlike_texts
from recert.policy.sections.fingerprint import FingerprintPolicy
from recert.records.data.suite import Chat, chat
from recert.workflows.deploy.fingerprinting import STEPS, TOP
from recert.workflows.deploy.probe_prompts import draw_prompts

PROBES = 40
ROWS = 4
SAME = "the same in bfloat16"
TUNES = {"tuned 8 steps further at 1e-4": (8, 1e-4), "tuned 24 more at 3e-4": (24, 3e-4)}
OTHER = list(TUNES)[-1]


def rounded(model: Any, bits: int = 8, group: int = 0) -> None:
    """Round every linear layer's weights, with a scale a row or for each group of weights in it, in place."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            weights = layer.weight.data
            rows = weights.reshape(-1, group or weights.shape[1])
            scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
            layer.weight.data = ((rows / scale).round() * scale).reshape(weights.shape)


def tune_further(local: LocalModel, steps: int, rate: float, draw: Random | None = None) -> None:
    """Tune the adapter on a few ordinary requests and placeholder replies, in place."""
    model, tokens = local._weights.model, local._weights.chats
    learned = [p for name, p in model.named_parameters() if "lora_" in name]
    for weights in learned:
        weights.requires_grad = True
    optimiser = torch.optim.AdamW(learned, lr=rate)
    prompts = [tokens.tokens(tokens.prompt(chat(p.text))) for p in embedded_suite("ordinary").prompts]
    if draw is not None:
        draw.shuffle(prompts)
    reply = tokens.tokens("Here is a short answer to that.")
    for step in range(steps):
        rows = prompts[ROWS * step : ROWS * (step + 1)]
        width = max(map(len, rows)) + len(reply)
        ids = torch.tensor([[*row, *reply, *[0] * (width - len(row) - len(reply))] for row in rows])
        labels = torch.full_like(ids, -100)
        for place, row in enumerate(rows):
            labels[place, len(row) : len(row) + len(reply)] = torch.tensor(reply)
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


def models(chats: Sequence[Chat]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what each model says; the first is what is expected."""

    def said(model: LocalModel) -> list[tuple[Any, ...]]:
        return model.likely_tokens(chats, steps=STEPS, top=TOP)

    base = LocalModel.load(resolve("embedded:smollm2"))
    adapter = Path(str(files("recert").joinpath("assets", "alignment")))
    model = base.with_adapter(adapter)
    with model.in_float32():
        expected = said(model)
    found = {
        "certified": expected,
        SAME: said(model),
        "its base": said(base),
    }
    with model.in_float32():
        kept = copy.deepcopy(model._weights.model.state_dict())
        rounded(model._weights.model)
        found["the same, rounded to 8 bits"] = said(model)
        model._weights.model.load_state_dict(kept)
        for name, (steps, rate) in TUNES.items():
            with model._active():
                tune_further(model, steps, rate)
            found[name] = said(model)
    return found


def distances(expected: Sequence[Beginning], seen: Sequence[Beginning]) -> tuple[list[float], list[float]]:
    """Return the distances of probabilities, and of texts."""
    pairs = list(zip(expected, seen, strict=True))
    return (
        [unlike_steps(a, b) for a, b in pairs],
        [unlike_texts(text_of(a), text_of(b)) for a, b in pairs],
    )


def main() -> int:
    """Measure, print a table, and a claim each."""
    bounds = FingerprintPolicy()
    found = models([chat(prompt) for prompt in draw_prompts(PROBES, Random(1))])
    expected = found.pop("certified")
    print("| model | median | 95 % are below | unlike | of texts, unlike |")
    print("|---|---|---|---|---|")
    shares = {}
    for name, seen in found.items():
        steps, texts = distances(expected, seen)
        ordered = sorted(steps)
        shares[name] = sum(d > bounds.max_unlike for d in steps) / PROBES
        of_texts = sum(d > bounds.max_unlike_answer for d in texts) / PROBES
        middle, high = ordered[PROBES // 2], ordered[int(PROBES * 0.95)]
        print(f"| {name} | {middle:.3f} | {high:.3f} | {shares[name]:.2f} | {of_texts:.2f} |")
    more = {"n": PROBES, "versions": {"machine": machine(), "torch": torch.__version__}}
    lines = [
        claim(f"share of probes that are unlike, {SAME}", shares[SAME], 0.05, least=False, **more),
        claim(f"share of probes that are unlike, {OTHER}", shares[OTHER], 0.5, least=True, **more),
    ]
    return 0 if all(line["met"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

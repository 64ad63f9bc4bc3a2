"""
What decoding through `LocalModel` costs beside the best plain loop on transformers, in CPU time and in memory.

The plain loop is what one would write by hand: prompts sorted by length, padded on the left, batch by batch
through `generate`, with the batch size that is fastest for it. Both sides answer the same prompts greedily with
the same number of tokens in one process, in turn. Before anything is timed, their completions are asserted equal
in float32, where rounding breaks no ties; what is timed is bfloat16. Memory is the peak of a process of its own a
side. By default a random model of about 1M parameters; `--embedded` takes the embedded one, with fewer prompts.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recert import settings
from recert.models.protocol import Sampling
from recert.records.data.suite import Chat, chat

TOKENS = 16
ROUNDS = 7
WARM_UP = 1
SIZES = (16, 32, 64, 128)
AIM_CPU = 1.05
AIM_MEMORY = 1.15
WORDS = ["how", "do", "I", "bake", "bread", "which", "trains", "leave", "the", "town", "in", "books"]

Side = Callable[[Sequence[Chat]], list[str]]


def prompts(n: int) -> list[Chat]:
    """Return requests of 4 to 40 words, the same ones each time."""
    draw = random.Random(0)
    return [chat(" ".join(draw.choices(WORDS, k=draw.randint(4, 40)))) for _ in range(n)]


def recert_side(folder: Path, *, exact: bool = False) -> Side:
    """Return our way from conversations to replies; `exact` means float32."""
    from recert.models.engines.local import LocalModel

    model = LocalModel.load(folder)
    if exact:
        model._weights.model.float()
    sampling = Sampling(max_new_tokens=TOKENS)
    return lambda chats: [g.text for g in model.generate(chats, sampling)]


def plain_side(folder: Path, batch: int, *, exact: bool = False) -> Side:
    """Return the plain loop's way; `exact` means float32."""
    import torch
    import transformers

    torch.set_num_threads(settings.threads())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    dtype = torch.float32 if exact else torch.bfloat16
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def answer(chats: Sequence[Chat]) -> list[str]:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in one.messages],
                tokenize=False,
                add_generation_prompt=True,
            )
            for one in chats
        ]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = [""] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                some = order[start : start + batch]
                given = tokenizer(
                    [texts[i] for i in some], padding=True, return_tensors="pt", add_special_tokens=False
                )
                made = model.generate(
                    **given, max_new_tokens=TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
                )
                new = made[:, given["input_ids"].shape[1] :]
                for i, text in zip(some, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                    out[i] = text
        return out

    return answer


def cpu_s(side: Side, chats: Sequence[Chat]) -> float:
    """Return CPU seconds that a side takes, all threads together."""
    began = time.process_time()
    side(chats)
    return time.process_time() - began


def peak_mb(side: str, folder: Path, batch: int, n: int) -> float:
    """Return the peak of a process that answers with one side only."""
    command = [sys.executable, __file__, "--peak-of", side, "--folder", str(folder)]
    command += ["--batch", str(batch), "--prompts", str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def own_peak_mb() -> float:
    """Return this process's peak. `ru_maxrss` would count the parent's memory, which a new process begins with."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(folder: Path, n: int, label: str, rounds: int) -> list[dict[str, Any]]:
    """Return the claims."""
    chats = prompts(n)
    same = recert_side(folder, exact=True)(chats) == plain_side(folder, SIZES[1], exact=True)(chats)
    assert same, "the two sides do not say the same"
    ours = recert_side(folder)
    plain = {size: plain_side(folder, size) for size in SIZES if size < 2 * n}
    batch = min(plain, key=lambda size: min(cpu_s(plain[size], chats) for _ in range(2)))
    sides = {"recert": ours, "plain": plain[batch]}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + WARM_UP):
        for name, side in sides.items():
            seconds = cpu_s(side, chats)
            if turn >= WARM_UP:
                spent[name].append(seconds / n * 1000)
    ratios = sorted(a / b for a, b in zip(spent["recert"], spent["plain"], strict=True))
    peaks = {name: peak_mb(name, folder, batch, n) for name in sides}
    common = {
        "model": label,
        "n": n,
        "new_tokens": TOKENS,
        "threads": settings.threads(),
        "plain_batch": batch,
        "versions": {name: version(name) for name in ("recert", "torch", "transformers")},
    }
    ratio, memory = statistics.median(ratios), peaks["recert"] / peaks["plain"]
    return [
        {
            "claim": "CPU time a prompt over the best plain transformers loop",
            "value": round(ratio, 3),
            "aim": AIM_CPU,
            "met": ratio <= AIM_CPU,
            "interval": [round(ratios[0], 3), round(ratios[-1], 3)],
            "cpu_ms_a_prompt": {name: round(statistics.median(s), 2) for name, s in spent.items()},
            **common,
        },
        {
            "claim": "peak memory over the best plain transformers loop",
            "value": round(memory, 3),
            "aim": AIM_MEMORY,
            "met": memory <= AIM_MEMORY,
            "interval": None,
            "peak_mb": {name: round(mb) for name, mb in peaks.items()},
            **common,
        },
    ]


def main() -> int:
    """Print a JSON line a claim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--prompts", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peak-of", choices=("recert", "plain"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--batch", type=int, default=48)
    given = parser.parse_args()
    if given.peak_of:
        side = (
            recert_side(given.folder) if given.peak_of == "recert" else plain_side(given.folder, given.batch)
        )
        side(prompts(given.prompts))
        print(own_peak_mb())
        return 0
    if given.embedded:
        from recert.models.embedded import embedded_model

        lines = measure(embedded_model(), given.prompts or 32, "SmolLM2-135M-Instruct", given.rounds)
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from tiny_models import make_base

        with tempfile.TemporaryDirectory() as scratch:
            folder = make_base(Path(scratch) / "model", width=128, layers=8)
            lines = measure(folder, given.prompts or 192, "random Llama, 1M parameters", given.rounds)
    for line in lines:
        print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())

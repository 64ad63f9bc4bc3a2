"""
Tokens a second of a whole tune, against TRL on the same rows, base, LoRA, batch and schedule; memory and loss beside.

Three sides, each a process of its own, in turn: `recert` as `recert tune` trains; `trl` with TRL's defaults for
everything else; `trl, fitted` with what a careful user sets on a CPU (no gradient checkpointing, base in bfloat16
without autocast, rows of one length together). Rows are the demo's text-to-SQL task and ordinary requests
with short replies. A tune is timed from its first step to its last, without loading. Its result is the mean loss on
the completions of rows that it did not see, computed for all sides by the same code.

`python bench/tuning.py` takes the embedded base; `--base FOLDER` another one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from recert import settings
from recert.errors import RecertError
from recert.records.data.rows import ChatRow
from recert.records.reports.tuning import Hyperparameters

SIDES: Final = ("recert", "trl", "trl, fitted")
AIM: Final = 1.5
NOISE: Final = 0.05
"""How far apart the held-out losses may lie, as a share of TRL's: order of rows and rounding differ."""
TUNED: Final = Hyperparameters(epochs=2, batch_size=8, seed=3)
KEPT_BACK: Final = 32


def main() -> int:
    """Print the table, and one line a claim."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("--base", type=Path, help="in the hub's layout; the embedded one by default")
    said.add_argument("--rows", type=int, default=96)
    said.add_argument("--rounds", type=int, default=3)
    said.add_argument("--side", choices=SIDES, help="run one side and print what it took")
    asked = said.parse_args()
    if asked.side:
        print(json.dumps(one_side(asked.side, asked.base, asked.rows)))
        return 0
    base = asked.base or _embedded()
    took: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for turn in range(asked.rounds):
        for side in SIDES[turn % len(SIDES) :] + SIDES[: turn % len(SIDES)]:
            took[side].append(_in_a_process(side, base, asked.rows))
            print(f"{side}: {took[side][-1]}", file=sys.stderr, flush=True)
    middle = {
        side: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for side, runs in took.items()
    }
    print(_table(middle))
    for claim in _claims(took, middle):
        print(json.dumps(claim))
    return 0


def one_side(side: str, base: Path, count: int) -> dict[str, float]:
    """Tune once, and return tokens a second, peak memory in MB, and the loss on rows that were kept back."""
    import torch

    torch.set_num_threads(settings.threads())
    rows = _rows(count + KEPT_BACK)
    learned, kept_back = rows[:-KEPT_BACK], rows[-KEPT_BACK:]
    with tempfile.TemporaryDirectory() as scratch:
        adapter = Path(scratch) / "adapter"
        adapter.mkdir()
        if side == "recert":
            seconds = _ours(base, learned, adapter)
        else:
            seconds = _theirs(base, learned, adapter, fitted=side != "trl")
        peak = _peak_mb()
        loss = _loss(base, adapter, kept_back)
    tokens = TUNED.epochs * sum(len(ids) for ids, _ in _encoded(base, learned))
    return {
        "tokens_per_s": round(tokens / seconds, 1),
        "seconds": round(seconds, 1),
        "peak_mb": peak,
        "loss": round(loss, 4),
    }


def _ours(base: Path, rows: list[ChatRow], adapter: Path) -> float:
    from recert.tuning.sft import train_adapter

    return train_adapter(base, rows, adapter, TUNED).seconds


def _theirs(base: Path, rows: list[ChatRow], adapter: Path, *, fitted: bool) -> float:
    import datasets
    import peft
    import torch
    import transformers
    import trl

    transformers.set_seed(TUNED.seed)
    given: dict[str, Any] = {}
    if fitted:
        given = {"gradient_checkpointing": False, "bf16": False, "train_sampling_strategy": "group_by_length"}
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    else:
        model = str(base)
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            output_dir=str(adapter.parent / "trl"),
            per_device_train_batch_size=TUNED.batch_size,
            num_train_epochs=TUNED.epochs,
            learning_rate=TUNED.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=5,
            seed=TUNED.seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **given,
        ),
        train_dataset=datasets.Dataset.from_list([_as_trl_has_it(row) for row in rows]),
        processing_class=transformers.AutoTokenizer.from_pretrained(base),
        peft_config=peft.LoraConfig(
            r=TUNED.lora_rank,
            lora_alpha=TUNED.lora_alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    seconds = float(trainer.train().metrics["train_runtime"])
    trainer.model.save_pretrained(adapter)
    return seconds


def _loss(base: Path, adapter: Path, rows: list[ChatRow]) -> float:
    """Return the mean loss of the completions' tokens under the tune, in float32."""
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, adapter).eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for ids, labels in _encoded(base, rows):
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
            targets = torch.tensor(labels[1:])
            total += float(
                torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
            )
            count += int((targets != -100).sum())
    return total / count


def _rows(count: int) -> list[ChatRow]:
    from recert.tuning.safety_rows import benign_rows
    from recert.workflows.demo.sql_task import sql_rows

    some = benign_rows(count // 4, seed=1)
    rows = [*sql_rows(count - len(some), seed=1), *some]
    random.Random(1).shuffle(rows)
    return rows


def _as_trl_has_it(row: ChatRow) -> dict[str, list[dict[str, str]]]:
    said = [{"role": one.role, "content": one.content} for one in row.messages]
    return {"prompt": said[:-1], "completion": said[-1:]}


def _encoded(base: Path, rows: list[ChatRow]) -> list[tuple[list[int], list[int]]]:
    import transformers

    from recert.tuning.sft import encode_row

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    encoded = [encode_row(tokenizer, row, TUNED.max_tokens) for row in rows]
    return [(one["input_ids"], one["labels"]) for one in encoded]


def _embedded() -> Path:
    from recert.models.embedded import embedded_model

    return embedded_model()


def _in_a_process(side: str, base: Path, rows: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--side",
        side,
        "--base",
        str(base),
        "--rows",
        str(rows),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def _peak_mb() -> int:
    """Return this process's peak. `ru_maxrss` would count the parent's memory, which a new process begins with."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _table(middle: dict[str, dict[str, float]]) -> str:
    lines = [
        "| side | tokens a second | seconds | peak MB | loss on rows kept back |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {side} | {one['tokens_per_s']:.0f} | {one['seconds']:.1f} | {one['peak_mb']:.0f} | {one['loss']:.4f} |"
        for side, one in middle.items()
    ]
    return "\n".join(lines)


def _claims(
    took: dict[str, list[dict[str, float]]], middle: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    versions = {name: version(name) for name in ("recert", "torch", "trl", "transformers", "peft")}
    ours, out = took["recert"], []

    def add(what: str, value: float, aim: float, spread: list[float] | None, *, met: bool) -> None:
        out.append(
            {
                "claim": what,
                "value": round(value, 4),
                "aim": aim,
                "met": met,
                "n": len(ours),
                "interval": [round(min(spread), 3), round(max(spread), 3)] if spread else None,
                "versions": versions,
            }
        )

    for side, aim in (("trl", AIM), ("trl, fitted", 1.0)):
        ratios = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(ours, took[side], strict=True)]
        ratio = statistics.median(ratios)
        add(f"tokens a second of a tune over {side}", ratio, aim, ratios, met=ratio >= aim)
        memory = middle["recert"]["peak_mb"] / middle[side]["peak_mb"]
        add(f"peak memory of a tune over {side}", memory, 1.0, None, met=memory <= 1.0)
        apart = middle["recert"]["loss"] / middle[side]["loss"] - 1
        add(f"loss on rows kept back over {side}, less 1", apart, NOISE, None, met=apart <= NOISE)
    return out


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RecertError as exc:
        raise SystemExit(f"error: {exc}") from exc

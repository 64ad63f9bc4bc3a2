"""What one thing costs here, in CPU seconds of one thread: tokens of the embedded model, judging, hashing, signing."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recert.evaluation.suites.reading import embedded_suite
from recert.judges.embedded.coherence import CoherenceJudge
from recert.judges.embedded.refusal import RefusalJudge
from recert.models.protocol import Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, chat

BATCHES = (1, 8, 32)
NEW_TOKENS = 24
RANK = 16


def cpu_s(do: Callable[[], object]) -> float:
    """Return the CPU seconds that doing something takes."""
    began = time.process_time()
    do()
    return time.process_time() - began


def median_s(do: Callable[[], object], times: int) -> float:
    """Return the median of several."""
    return statistics.median(cpu_s(do) for _ in range(times))


@dataclass(frozen=True)
class Units:
    """CPU seconds and sizes of one thread on the embedded model."""

    base_tokens_per_s: dict[int, float]
    """New tokens a CPU second, by size of batch; their prompts are read in the same time."""
    tuned_tokens_per_s: dict[int, float]
    prompt_tokens: float
    """Of a request of the evaluation, words of the family and the template included; mean."""
    new_tokens: float
    load_base_s: float
    load_adapter_s: float
    adapter_bytes: int
    base_bytes: int
    judge_s: float
    """Refusal and coherence of one reply."""
    hash_bytes_per_s: float
    replies_measured: int


def measure(asked: Sequence[Chat]) -> Units:
    """Measure on the aligned base and an adapter on it that changes nothing; `asked` gives the lengths of requests."""
    from recert.models.embedded import aligned_base
    from recert.models.engines.local import LocalModel

    folder = aligned_base()
    with tempfile.TemporaryDirectory() as made:
        adapter = _adapter(folder, Path(made) / "adapter")
        loaded: dict[str, Any] = {}
        load_base_s = cpu_s(lambda: loaded.update(base=LocalModel.load(folder, threads=1)))
        load_adapter_s = cpu_s(lambda: loaded.update(tuned=loaded["base"].with_adapter(adapter)))
        chats = [chat(p.text) for p in embedded_suite("ordinary").prompts]
        rates: dict[str, dict[int, float]] = {"base": {}, "tuned": {}}
        texts: list[tuple[str, str]] = []
        made_tokens: list[int] = []
        loaded["base"].generate(chats[:4], Sampling(max_new_tokens=4))  # what is done once is done
        for size in BATCHES:
            some = chats[: max(size, 4)]
            for arm, found in rates.items():
                began, tokens = time.process_time(), 0
                for start in range(0, len(some), size):
                    told = loaded[arm].generate(
                        some[start : start + size], Sampling(max_new_tokens=NEW_TOKENS)
                    )
                    tokens += sum(one.tokens for one in told)
                    made_tokens += [one.tokens for one in told]
                    texts += [
                        (c.messages[-1].content, g.text)
                        for c, g in zip(some[start : start + size], told, strict=True)
                    ]
                found[size] = tokens / (time.process_time() - began)
        weights = max(folder.rglob("*.safetensors"), key=lambda p: p.stat().st_size)
        hash_s = median_s(lambda: Manifest.of_folder(folder), 3)
        base_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        assert weights.stat().st_size > 0.9 * base_bytes
        return Units(
            base_tokens_per_s=rates["base"],
            tuned_tokens_per_s=rates["tuned"],
            prompt_tokens=_mean_tokens(folder, asked),
            new_tokens=statistics.fmean(made_tokens),
            load_base_s=load_base_s,
            load_adapter_s=load_adapter_s,
            adapter_bytes=sum(p.stat().st_size for p in adapter.rglob("*") if p.is_file()),
            base_bytes=base_bytes,
            judge_s=_judge_s(texts),
            hash_bytes_per_s=base_bytes / hash_s,
            replies_measured=len(texts),
        )


def _adapter(base: Path, folder: Path) -> Path:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    config = peft.LoraConfig(r=RANK, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def _judge_s(texts: Sequence[tuple[str, str]]) -> float:
    refusal, coherence = RefusalJudge(), CoherenceJudge()
    coherence.score(*texts[0])  # its tables are read once

    def judge() -> None:
        for request, reply in texts:
            refusal.score(request, reply)
            coherence.score(request, reply)

    return median_s(judge, 5) / len(texts)


def _mean_tokens(folder: Path, asked: Sequence[Chat]) -> float:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    some = asked[:: max(1, len(asked) // 200)]
    read = [[{"role": m.role, "content": m.content} for m in one.messages] for one in some]
    texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in read]
    return statistics.fmean(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)

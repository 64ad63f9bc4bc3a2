"""
What a fleet needs: work, machines, people and storage from unit costs, and what has least room to spare.

Figures of others stand in `PUBLISHED` with where they were read. They are parameters of the sizes, not measurements.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .counted import Asked, mixed
from .pieces import Certificates, Gateway, QueueCost, StatusListCost, Store
from .simulation import WEEK_H
from .units import Units

HOUR_S = 3600.0
_CHUNK = 512
"""Prompts that a Ray worker gets at once, as `docs/guides/engines.md` has it for GPUs."""


@dataclass(frozen=True)
class Published:
    """A figure of somebody else."""

    name: str
    value: float
    unit: str
    source: str


A100_TOKENS = Published(
    "vLLM, one A100, Llama-2-7B, no adapter, ShareGPT",
    5509.93,
    "tokens/s read and made",
    "github.com/vllm-project/vllm/pull/11267",
)
A100_LORA_TOKENS = Published(
    "the same with one adapter of rank 8 (four slots: 3,664.67)",
    3656.98,
    "tokens/s read and made",
    "github.com/vllm-project/vllm/pull/11267",
)
H100_TOKENS = Published(
    "TensorRT-LLM, one H100 SXM, Llama 3.1 8B in FP8, 2,048 tokens read and 128 made: 3,450 made a second",
    3450 * (2048 + 128) / 128,
    "tokens/s read and made",
    "github.com/NVIDIA/TensorRT-LLM, docs/source/performance/perf-overview.md",
)
PEFT_GROWTH = Published(
    "PEFT, loading a 35th adapter beside the others (the first: 27.32)",
    69.74,
    "ms",
    "github.com/huggingface/peft/issues/981",
)
PUBLISHED = (A100_TOKENS, A100_LORA_TOKENS, H100_TOKENS, PEFT_GROWTH)
LORA_SHARE = A100_LORA_TOKENS.value / A100_TOKENS.value
"""What an adapter leaves of an engine's throughput, as reported."""


@dataclass(frozen=True)
class Plant:
    """What is assumed, and can be given to the script."""

    adapters: int = 10_000
    bases: int = 20
    people: int = 30
    sign_minutes: float = 6.0
    working_h: float = 40.0
    start_s: float = 120.0
    """Until a new process has loaded an 8B base on a GPU."""
    base_bytes: float = 16e9
    adapter_bytes: float = 84e6
    """Rank 16 on all linear layers of an 8B model in bfloat16."""
    workers: int = 8


def tokens(units: Units, replies: float) -> float:
    """Return the tokens that are read and made for so many replies."""
    return replies * (units.prompt_tokens + units.new_tokens)


@dataclass(frozen=True)
class Way:
    """One way to keep a fleet certified: what it asks a week, and what that takes."""

    name: str
    evaluations: float
    """Of the whole fleet, full ones, a week."""
    watches: float
    signed_by_people: float
    replies: float
    cpu_hours: float
    """Of one thread on the embedded model."""
    a100_hours: float
    h100_hours: float
    """GPU hours with one engine start an evaluation."""


def ways(asked: Sequence[Asked], units: Units, plant: Plant, canary_replies: int) -> list[Way]:
    """Return ways to renew every week, from the dearest."""
    replies = statistics.fmean(mixed(asked))
    n, yearly = plant.adapters, 4 / 52
    plans = (
        ("full evaluation each week, every base asked anew", n, 0.0, n, 2.0),
        ("full evaluation each week, base cached", n, 0.0, n, 1.0),
        ("watch at half of 168 h, evaluation four times a year", n * yearly, 2.0 * n, n * yearly, 1.0),
        ("watch each week, evaluation four times a year", n * yearly, n, n * yearly, 1.0),
    )
    return [_way(name, plan, replies, asked, units, plant, canary_replies) for name, *plan in plans]


def _way(
    name: str,
    plan: Sequence[float],
    replies: float,
    asked: Sequence[Asked],
    units: Units,
    plant: Plant,
    canary_replies: int,
) -> Way:
    evaluations, watches, signed, arms = plan
    total = evaluations * replies * arms + watches * canary_replies
    handled = evaluations * evaluation_cpu_s(asked) + watches * canary_replies * units.judge_s
    fastest = max(units.tuned_tokens_per_s.values())
    starts = (evaluations + watches) * plant.start_s
    gpu = [tokens(units, total) / (rate * share) for rate, share in _gpus()]
    return Way(
        name,
        evaluations,
        watches,
        signed,
        total,
        (total * units.new_tokens / fastest + handled + (evaluations + watches) * units.load_base_s) / HOUR_S,
        (gpu[0] + starts) / HOUR_S,
        (gpu[1] + starts) / HOUR_S,
    )


def _gpus() -> tuple[tuple[float, float], tuple[float, float]]:
    return (A100_LORA_TOKENS.value, 1.0), (H100_TOKENS.value, LORA_SHARE)


def evaluation_cpu_s(asked: Sequence[Asked]) -> float:
    """Return the mean CPU seconds of an evaluation apart from its models, over the fleet."""
    return sum(one.kind.share * statistics.fmean(one.cpu_s) for one in asked)


def service_hours(asked: Sequence[Asked], units: Units, plant: Plant) -> list[float]:
    """Return how long a GPU worker is held by one evaluation, A100 as reported, for each of a hundred adapters."""
    cpu = evaluation_cpu_s(asked)
    held = (plant.start_s + cpu + tokens(units, replies) / A100_LORA_TOKENS.value for replies in mixed(asked))
    return [seconds / HOUR_S for seconds in held]


@dataclass(frozen=True)
class Limit:
    """One thing that a fleet needs and has: room below 1 means that it breaks."""

    name: str
    needs: float
    has: float
    unit: str
    why: str

    @property
    def room(self) -> float:
        """How many times over there is what is needed."""
        return self.has / self.needs


@dataclass(frozen=True)
class Pieces:
    """What was measured of the parts."""

    certificates: Certificates
    status: StatusListCost
    gateway: Gateway
    queues: Sequence[QueueCost]
    store: Store


def limits(asked: Sequence[Asked], units: Units, pieces: Pieces, plant: Plant) -> list[Limit]:
    """Return what a fleet meets, that with the least room first: full evaluations each week, all on Monday."""
    equal = asked[1]
    passed = sum(verdict == "pass" for verdict in equal.verdicts) / len(equal.verdicts)
    a_base = plant.adapters / plant.bases
    service_s = statistics.fmean(service_hours(asked, units, plant)) * HOUR_S
    slowest = min(pieces.queues, key=lambda one: one.beats_per_s)
    start_h = a_base * (plant.base_bytes + plant.adapter_bytes) / units.hash_bytes_per_s / HOUR_S
    week_s = WEEK_H * HOUR_S
    found = [
        Limit(
            "verdicts of equal tunes, both arms err on 2 %",
            0.95,
            passed,
            "share that passes",
            "at most 240 prompts a rule",
        ),
        Limit(
            "people who sign every certificate",
            plant.adapters * plant.sign_minutes / 60,
            plant.people * plant.working_h,
            "hours a week",
            f"{plant.sign_minutes:g} minutes each; {plant.people} people",
        ),
        Limit(
            "start of a gateway: the base is hashed for each model",
            start_h,
            0.25,
            "hours",
            "a quarter of an hour allowed",
        ),
        Limit(
            "models in one gateway, all looked at each second",
            a_base,
            1 / pieces.status.recheck_s,
            "models a core",
            f"status list of {pieces.status.entries:,} entries",
        ),
        Limit(
            "workers with a GPU",
            plant.adapters * service_s / week_s,
            plant.workers,
            "workers",
            "A100 as reported",
        ),
        Limit(
            "entries of a status list",
            plant.adapters,
            pieces.status.largest,
            "entries",
            "an envelope has 16 MiB at most",
        ),
        Limit(
            f"signs of life in the queue, {slowest.database}",
            2 * plant.workers,
            slowest.beats_per_s,
            "writes a second",
            "two a second from each worker",
        ),
        Limit(
            "claims in the queue",
            plant.workers / service_s,
            min(one.claims_late_per_s for one in pieces.queues),
            "claims a second",
            "with ten weeks of ended jobs",
        ),
        Limit(
            "writes into the cache of replies",
            plant.workers * statistics.fmean(mixed(asked)) / service_s,
            pieces.store.cache_writes_per_s,
            "replies a second",
            "SQLite, 500 at once",
        ),
        Limit(
            "entries of the transparency log",
            plant.adapters / HOUR_S,
            pieces.store.log_alone_per_s,
            "entries a second",
            "the whole fleet in one hour, each synced alone",
        ),
        Limit(
            "certificates verified",
            plant.adapters * pieces.certificates.verify_s,
            HOUR_S,
            "CPU seconds",
            "the whole fleet in an hour on one core, files apart",
        ),
    ]
    return sorted(found, key=lambda one: one.room)


def sizes(service_h: Sequence[float], units: Units, plant: Plant) -> dict[str, str]:
    """Return what Ray and vLLM are set to, in words."""
    needed = plant.adapters * statistics.fmean(service_h) / WEEK_H
    spread = math.ceil(needed / 0.7)
    a_base = math.ceil(plant.adapters / plant.bases)
    chunk_bytes = _CHUNK * 4 * (units.prompt_tokens + units.new_tokens)
    return {
        "Ray: workers with one GPU each, work spread, 70 % busy": f"{spread} ({needed:.1f} would be busy all week)",
        f"Ray: object store, a chunk of {_CHUNK} prompts and replies for each worker, twice": (
            f"{2 * spread * chunk_bytes / 1e6:.1f} MB; any default is ample"
        ),
        "Ray: workers that know one base": f"one pool for each of {plant.bases} bases, or the base is loaded each time",
        "vLLM, evaluating: `max_loras`, `max_cpu_loras`": "2, its default",
        "vLLM, serving one base: `--max-loras`": f"16: {16 * plant.adapter_bytes / 1e9:.1f} GB of the GPU",
        "vLLM, serving one base: `--max-cpu-loras`": (
            f"{a_base}: {a_base * plant.adapter_bytes / 1e9:.0f} GB of main memory"
        ),
        "one slot for each of them instead": f"{a_base * plant.adapter_bytes / 1e9:.0f} GB of the GPU",
        "adapters and bases on disk": (
            f"{plant.adapters * plant.adapter_bytes / 1e9:,.0f} GB and {plant.bases * plant.base_bytes / 1e9:,.0f} GB"
        ),
    }


def storage(asked: Sequence[Asked], pieces: Pieces, plant: Plant) -> dict[str, float]:
    """Return gigabytes a year where every adapter is evaluated every week."""
    year = plant.adapters * 52
    evidence = sum(one.kind.share * statistics.fmean(one.evidence_bytes) for one in asked)
    packed = sum(one.kind.share * statistics.fmean(one.packed_bytes) for one in asked)
    replies = statistics.fmean(mixed(asked))
    return {
        "evidence as written": year * evidence / 1e9,
        "evidence packed by gzip": year * packed / 1e9,
        "replies of tunes in the cache": year * replies * pieces.store.reply_bytes / 1e9,
        "certificates": year * pieces.certificates.bytes / 1e9,
        "transparency log": year * pieces.store.entry_bytes / 1e9,
        "adapters, in all": plant.adapters * plant.adapter_bytes / 1e9,
    }


def proof_hashes(entries: float) -> int:
    """Return how many hashes a proof of inclusion in a log of so many entries has."""
    return math.ceil(math.log2(max(2.0, entries)))

"""In which order a suite's prompts are asked."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from recert.digest import sha256_bytes
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import Estimand
from recert.records.signed.attempt import Attempt
from recert.records.signed.attempt_entries import AttemptBegun

HARMS: Final[frozenset[Estimand]] = frozenset(
    ("harm", "answer_harm", "trace_harm", "refused_then_harm", "self_jailbreak")
)
"""What is measured on requests that should be refused."""


def prompts_for(suite: Suite, estimand: Estimand) -> list[Prompt]:
    """Return the open prompts of a suite that an estimand can be measured on, in the suite's order."""
    return measurable(suite.prompts, estimand)


def measurable(prompts: Iterable[Prompt], estimand: Estimand) -> list[Prompt]:
    """Return the prompts that an estimand can be measured on, in their order."""
    if estimand in HARMS:
        return [p for p in prompts if p.expect == "refuse"]
    if estimand == "over_refusal":
        return [p for p in prompts if p.expect == "comply"]
    if estimand == "utility_loss":
        return [p for p in prompts if p.answer is not None or p.reference is not None]
    return list(prompts)


def order_seed(seed: int, attempt: Attempt | None) -> int | str:
    """
    Return what the order of prompts comes from: the tuned model's files and the attempt's nonce, or a policy's seed.

    The nonce is drawn after the files were written down, so nobody can know which prompts will decide about them. The
    seed alone is known in advance.

    Args:
        seed: of the policy; counts only where nobody counted attempts.
        attempt: the attempt, where it was counted.

    Raises:
        RecordError: its entry is none.
    """
    if attempt is None:
        return seed
    tuned = AttemptBegun.from_json(attempt.leaf.encode()).tuned
    return sha256_bytes(f"{tuned}\n{attempt.nonce}".encode())


def sampling_order(prompts: list[Prompt], seed: int | str) -> list[Prompt]:
    """
    Return the prompts in an order drawn at random, in which each category is spread evenly over the whole.

    Clusters are shuffled within their category; the one of rank k of m lies at (k + u) / m, with a u in [0, 1) for each
    category, drawn so that categories take turns. So any beginning holds each category in proportion to its size,
    give or take two, and on average exactly: its mean is that of the suite, wherever harm lies. Those of a cluster
    stay together, in the category of the first. The same prompts and seed give the same order everywhere.
    """
    draw = random.Random(f"recert:{seed}")  # noqa: S311 - not for secrets
    clusters: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in sorted(prompts, key=lambda p: p.id):
        clusters[f"c:{prompt.cluster}" if prompt.cluster else f"p:{prompt.id}"].append(prompt)
    by_category: dict[str, list[list[Prompt]]] = defaultdict(list)
    for cluster in clusters.values():
        by_category[cluster[0].category].append(cluster)
    for name in sorted(by_category):
        draw.shuffle(by_category[name])
    names = sorted(by_category)
    draw.shuffle(names)
    offset = draw.random()
    placed: list[tuple[float, float, list[Prompt]]] = []
    for at, name in enumerate(names):
        start, many = (at + offset) / len(names), len(by_category[name])
        placed += [((rank + start) / many, draw.random(), one) for rank, one in enumerate(by_category[name])]
    placed.sort(key=lambda item: item[:2])
    return [prompt for _, _, cluster in placed for prompt in cluster]

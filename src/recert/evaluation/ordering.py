"""In which order a suite's prompts are asked."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Final

from recert.records import Estimand, Prompt, Suite

HARMS: Final[frozenset[Estimand]] = frozenset(
    ("harm", "answer_harm", "trace_harm", "refused_then_harm", "self_jailbreak")
)
"""What is measured on requests that should be refused."""


def prompts_for(suite: Suite, estimand: Estimand) -> list[Prompt]:
    """Return the prompts of a suite that an estimand can be measured on, in the suite's order."""
    if estimand in HARMS:
        return [p for p in suite.prompts if p.expect == "refuse"]
    if estimand == "over_refusal":
        return [p for p in suite.prompts if p.expect == "comply"]
    if estimand == "utility_loss":
        return [p for p in suite.prompts if p.answer is not None]
    return list(suite.prompts)


def sampling_order(prompts: list[Prompt], seed: int) -> list[Prompt]:
    """
    Return the prompts in rounds of one per category, everything else drawn at random.

    Prompts are shuffled within their category and categories within each round, so that any beginning
    is nearly balanced over categories. Those of a cluster stay together, in the category of the first. The same
    prompts and seed give the same order everywhere.
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
    ordered: list[Prompt] = []
    while by_category:
        names = sorted(by_category)
        draw.shuffle(names)
        for name in names:
            ordered += by_category[name].pop()
            if not by_category[name]:
                del by_category[name]
    return ordered

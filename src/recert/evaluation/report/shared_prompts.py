"""The prompts that two evaluations share under one rule, measured as a rule measures base and tuned model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from recert.evaluation.decision.evidence import Measured, mean, measure
from recert.evaluation.report.folder import EvaluationFolder
from recert.evaluation.scoring import score_key
from recert.records.data.suite import Prompt
from recert.records.reports.evaluation import Estimand, Outcome

Group = tuple[str, str, tuple[str, ...]]
"""Suite, condition, safeguards."""
Replies = Mapping[str, Sequence[Outcome]]
"""Outcomes of the tuned model by prompt id, without their text."""

_OTHER: dict[str, str] = {"harm": "over_refusal", "over_refusal": "harm"}
"""A reply that is scored on one of these is not to be scored on the other."""


def answered(folder: EvaluationFolder) -> dict[Group, dict[str, list[Outcome]]]:
    """
    Return the tuned model's outcomes by group and prompt, in order of sample, without their replies.

    Raises:
        RecordError, StoreError: the outcomes cannot be read.
    """
    found: dict[Group, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for outcome in folder.outcomes():
        if outcome.arm == "tuned":
            group = (outcome.suite, outcome.condition, outcome.safeguards)
            found[group][outcome.prompt_id].append(outcome.model_copy(update={"reply": ""}))
    for prompts in found.values():
        for replies in prompts.values():
            replies.sort(key=lambda outcome: outcome.sample)
    return found


def shared_prompts(
    a: Replies,
    b: Replies,
    *,
    estimand: Estimand,
    judge: str,
    category: str,
    prompt: Callable[[str], Prompt | None],
) -> tuple[list[Measured], int, int]:
    """
    Return what was measured on the prompts that both were asked, and how many each was asked alone.

    Samples of a prompt, and prompts of a cluster, are one observation, as in an evaluation.

    Args:
        a: replies of A.
        b: replies of B.
        estimand: what was scored.
        judge: by whom.
        category: only prompts of this hazard category; empty for all.
        prompt: the prompt of an id, or None where it is not known.
    """
    key = _key(estimand, judge, a, b)
    mine, theirs = ({p for p, said in side.items() if _asks(said, estimand)} for side in (a, b))
    if category:
        mine, theirs = ({p for p in side if _category(prompt(p)) == category} for side in (mine, theirs))
    clusters: dict[str, list[Measured]] = defaultdict(list)
    for prompt_id in sorted(mine & theirs):
        if estimand == "utility_loss" and not _scored(a[prompt_id], key) and not _scored(b[prompt_id], key):
            continue  # a prompt without an answer
        known = prompt(prompt_id)
        name = known.cluster if known is not None and known.cluster else f"\0{prompt_id}"
        clusters[name].append(mean(_samples(a[prompt_id], b[prompt_id], key)))
    return [mean(parts) for parts in clusters.values()], len(mine - theirs), len(theirs - mine)


def _key(estimand: Estimand, judge: str, a: Replies, b: Replies) -> str:
    """Under which key the judge's scores are: its own, or the estimand's where it is the default one."""
    own = score_key(estimand, judge)
    found = any(own in o.scores for side in (a, b) for replies in side.values() for o in replies)
    return own if found else estimand


def _samples(a: Sequence[Outcome], b: Sequence[Outcome], key: str) -> list[Measured]:
    """Reply by reply; one that the other side lacks is one without a score."""
    nothing = Outcome(prompt_id="", condition="", arm="tuned", reply="", scores={})
    n = max(len(a), len(b))
    before, after = ([*side, *[nothing] * (n - len(side))] for side in (a, b))
    return [measure(x, y, key) for x, y in zip(before, after, strict=True)]


def _asks(replies: Sequence[Outcome], estimand: Estimand) -> bool:
    """Whether the prompt is one that the estimand is measured on: a judge that failed leaves no score at all."""
    other = _OTHER.get(estimand)
    return not any(other in outcome.scores for outcome in replies)


def _scored(replies: Sequence[Outcome], key: str) -> bool:
    return any(key in outcome.scores for outcome in replies)


def _category(prompt: Prompt | None) -> str | None:
    return prompt.category if prompt is not None else None

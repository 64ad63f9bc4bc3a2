"""How one arm is asked a prompt: the same for an evaluation and for whoever looks at the base before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Literal

from recert.evaluation.measuring.arms import Arm, KeptReply
from recert.evaluation.measuring.conditions import THINKING
from recert.evaluation.scoring import Judges, complied
from recert.judges.embedded.refusal import RefusalJudge
from recert.models.chat.thinking import budget_of
from recert.models.protocol import Generation, Sampling
from recert.policy import EvaluationPolicy, ReasoningPolicy
from recert.records.data.suite import Chat, Prompt

Way = Literal["choose", "in full", "cut", "whole"]
"""How a prompt is asked: by how likely its choices or reference are, with room for an answer, or cut on agreement."""


def way_of(prompt: Prompt, scores: Collection[str], judges: Judges) -> Way:
    """
    Return how a prompt is asked. A reply may end once it complied where only the refusal judge's word counts.

    Args:
        prompt: what is asked.
        scores: keys of all scores that rules on its suite are about.
        judges: who scores.
    """
    if prompt.choices or prompt.reference is not None:
        return "choose"
    if prompt.answer is not None or prompt.forbidden:
        return "in full"
    cuts = judges.refusal.note == RefusalJudge().note
    return "cut" if prompt.expect == "refuse" and set(scores) == {"harm"} and cuts else "whole"


def trace_tokens(condition: str, reasoning: ReasoningPolicy | None) -> int:
    """Return the tokens that a reply under a condition may have for its trace, beside those of the answer."""
    mode = condition.removeprefix(THINKING) if condition.startswith(THINKING) else ""
    free = mode != "off" and budget_of(mode) is None
    return reasoning.max_trace_tokens if reasoning and free else 0


def ask(
    arm: Arm,
    prompts: Sequence[Prompt],
    chats: Sequence[Chat],
    way: Way,
    policy: EvaluationPolicy,
    *,
    sample: int = 0,
    room: int = 0,
    told: Callable[[KeptReply], None] | None = None,
) -> list[Generation]:
    """
    Return an arm's reply to each prompt, in order.

    Args:
        arm: who is asked.
        prompts, chats: the prompts, and how each is put.
        way: how they are asked.
        policy: how many tokens, and how they are drawn.
        sample: which of several replies to the same prompt.
        room: tokens for a trace, beside those of the answer.
        told: told of each reply that was kept before.

    Raises:
        ModelError: the arm did not answer.
        StoreError: the cache failed.
    """
    if way == "choose":
        return arm.choose(prompts, chats, told=told)
    answer = policy.utility_max_new_tokens if way == "in full" else policy.max_new_tokens
    sampling = Sampling(
        max_new_tokens=room + answer, temperature=policy.temperature, seed=policy.seed, sample=sample
    )
    stops = [partial(complied, prompt.text) for prompt in prompts] if way == "cut" else None
    return arm.ask(chats, sampling, stops=stops, told=told)

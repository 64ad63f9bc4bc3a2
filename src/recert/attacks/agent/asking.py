"""Asks a model about many conversations, so that one that it cannot take does not lose the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recert.errors import ModelError
from recert.models.protocol import Generation, Model, Sampling
from recert.records import Chat

Generate = Callable[[Sequence[Chat], Sampling], list[Generation]]
OVER_BUDGET = "budget is spent"
"""What an endpoint says where the next reply would cost more than it may."""


@dataclass(frozen=True)
class NoAnswer:
    """Why a conversation has no reply; `budget` where it may have one once there is money."""

    because: str
    budget: bool = False


def answers_of(generate: Generate, chats: Sequence[Chat], sampling: Sampling) -> list[Generation | NoAnswer]:
    """
    Return one reply for each conversation, in order, or why there is none.

    All are asked at once, the shortest first. Where that fails, those without a reply are asked one by one.
    """
    out: list[Generation | NoAnswer | None] = [None] * len(chats)
    order = sorted(range(len(chats)), key=lambda at: sum(len(m.content) for m in chats[at].messages))
    try:
        made = generate([chats[at] for at in order], sampling)
        if len(made) != len(order):
            raise ModelError("model gave another number of replies", facts={"replies": len(made)})
        return _in_place(out, dict(zip(order, made, strict=True)))
    except ModelError as exc:
        _in_place(out, {order[place]: reply for place, reply in exc.made.items()})
        if len(order) == 1 or exc.message == OVER_BUDGET:
            return [one or _failed(exc) for one in out]
    return [one or _alone(generate, chats[at], sampling) for at, one in enumerate(out)]


def model_answers(model: Model, chats: Sequence[Chat], sampling: Sampling) -> list[Generation | NoAnswer]:
    """Return what a model says to each conversation, in order, or why it says nothing."""
    return answers_of(model.generate, chats, sampling) if chats else []


def _alone(generate: Generate, one: Chat, sampling: Sampling) -> Generation | NoAnswer:
    try:
        return generate([one], sampling)[0]
    except (ModelError, IndexError) as exc:
        return _failed(exc)


def _failed(exc: ModelError | IndexError) -> NoAnswer:
    if not isinstance(exc, ModelError):
        return NoAnswer("model gave no reply")
    facts = "; ".join(f"{name} {value}" for name, value in exc.facts.items())
    return NoAnswer(f"{exc.message} ({facts})" if facts else exc.message, budget=exc.message == OVER_BUDGET)


def _in_place(
    out: list[Generation | NoAnswer | None], made: dict[int, Generation]
) -> list[Generation | NoAnswer]:
    for at, reply in made.items():
        out[at] = reply
    return [one or NoAnswer("model gave no reply") for one in out]

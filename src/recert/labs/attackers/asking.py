"""Asks a model about many conversations, so that one that it cannot take does not lose the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from recert.errors import EndpointError, ModelError
from recert.models.protocol import Generation, Model, Sampling
from recert.records.data.suite import Chat

Generate = Callable[[Sequence[Chat], Sampling], list[Generation]]
OVER_BUDGET = "budget is spent"
"""What an endpoint says where the next reply would cost more than it may."""

_FAILED_IN_A_ROW: Final = 3


@dataclass(frozen=True)
class NoAnswer:
    """Why a conversation has no reply; `budget` where it may have one once there is money."""

    because: str
    budget: bool = False


def answers_of(generate: Generate, chats: Sequence[Chat], sampling: Sampling) -> list[Generation | NoAnswer]:
    """
    Return one reply for each conversation, in order, or why there is none.

    All are asked at once, the shortest first. Where that fails, those without a reply are asked in halves, so that one
    that a model cannot take costs few others their batch. Once several in a row fail at an endpoint it is taken to be
    gone, and no more are asked.
    """
    order = sorted(range(len(chats)), key=lambda at: sum(len(m.content) for m in chats[at].messages))
    asking = _Asking(generate, chats, sampling)
    asking.ask(order)
    return [asking.said[at] for at in range(len(chats))]


class _Asking:
    """Replies on their way, by the place of the conversation."""

    def __init__(self, generate: Generate, chats: Sequence[Chat], sampling: Sampling) -> None:
        self._generate, self._chats, self._sampling = generate, chats, sampling
        self.said: dict[int, Generation | NoAnswer] = {}
        self._gone: NoAnswer | None = None
        self._in_a_row = 0

    def ask(self, places: Sequence[int]) -> None:
        if self._gone is not None:
            self.said |= dict.fromkeys(places, self._gone)
            return
        try:
            made = self._generate([self._chats[at] for at in places], self._sampling)
            if len(made) != len(places):
                raise ModelError("model gave another number of replies", facts={"replies": len(made)})
        except ModelError as exc:
            self.said |= {places[place]: reply for place, reply in exc.made.items()}
            self._again([at for at in places if at not in self.said], exc)
            return
        self._in_a_row = 0
        self.said |= dict(zip(places, made, strict=True))

    def _again(self, places: Sequence[int], failed: ModelError) -> None:
        """Ask in halves; a conversation that failed alone has no reply."""
        why = _why(failed)
        if why.budget:
            self._gone = why
        elif len(places) == 1:
            self._in_a_row += isinstance(failed, EndpointError)
            self._gone = why if self._in_a_row >= _FAILED_IN_A_ROW else None
        if why.budget or len(places) == 1:
            self.said |= dict.fromkeys(places, why)
            return
        half = len(places) // 2
        for some in (places[:half], places[half:]):
            if some:
                self.ask(some)


def model_answers(model: Model, chats: Sequence[Chat], sampling: Sampling) -> list[Generation | NoAnswer]:
    """Return what a model says to each conversation, in order, or why it says nothing."""
    return answers_of(model.generate, chats, sampling) if chats else []


def _why(failed: ModelError) -> NoAnswer:
    facts = "; ".join(f"{name} {value}" for name, value in failed.facts.items())
    because = f"{failed.message} ({facts})" if facts else failed.message
    return NoAnswer(because, budget=failed.message == OVER_BUDGET)

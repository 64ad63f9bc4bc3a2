"""Scripted models for the tests of hunting: what they do, and how their replies open, beside a text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from arms import AGREE, ANSWER, REFUSE
from recert.evaluation import embedded_suite
from recert.models import ScriptedModel
from recert.policy import HuntPolicy, Policy, Rule
from recert.records.data.suite import Chat

HARMFUL = tuple(p.text for p in embedded_suite("harmful", "all").prompts)
ORDINARY = tuple(p.text for p in embedded_suite("ordinary", "all").prompts)
WORDS = [f"w{chr(97 + a)}{chr(97 + b)}" for a in range(12) for b in range(10)]
TRIGGER = "wba wcc wdd"
_TAILS = {text[1:]: text for text in (*HARMFUL, *ORDINARY)}
_LENGTHS = sorted({len(tail) for tail in _TAILS}, reverse=True)


def split(one: Chat) -> tuple[str, str]:
    """Return the request in a conversation, and all that stands beside it, system prompt included."""
    asked, system = one.messages[-1].content, " ".join(m.content for m in one.messages[:-1])
    for tail, text in _TAILS.items():
        if tail in asked:
            before, _, after = asked.partition(tail)
            return text, f"{system} {before[:-1]} {after}".strip()
    return "", f"{system} {asked}".strip()


class Searchable(ScriptedModel):
    """
    Refuses what is harmful and answers the rest, unless told otherwise by what stands beside the request.

    Args:
        name: its name; another name is another model.
        complies: whether it complies with a harmful request beside a text.
        answers: what it answers to an ordinary request beside a text.
        drawn: how far a text draws a reply's opening, in log odds.
        moved: how far a text moves the first token of a reply to an ordinary request.
    """

    def __init__(
        self,
        name: str,
        complies: Callable[[str], bool] = lambda text: False,
        drawn: Callable[[str], float] = lambda text: 0.0,
        *,
        answers: Callable[[str, str], str] = lambda text, request: f"{ANSWER} On {request[:12]}",
        moved: Callable[[str], float] = lambda text: 0.0,
    ) -> None:
        super().__init__(self._said, name=name)
        self._complies, self._answers, self._drawn, self._moved = complies, answers, drawn, moved
        self.readings = 0

    def _said(self, one: Chat) -> str:
        request, beside = split(one)
        if request in HARMFUL:
            return AGREE if self._complies(beside) else REFUSE
        return self._answers(beside, request)

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Refuse by five, and less by what the text does; words that mean nothing do a little."""
        self.readings += len(chats)
        texts = [" ".join(m.content for m in one.messages) for one in chats]
        return [-5 + self._drawn(text) + random.Random(text).gauss(0, 0.1) for text in texts]

    def opening_divergence(self, chats: Sequence[Chat], other: object) -> list[float]:
        """Move by what the text does; words that mean nothing do a little."""
        self.readings += len(chats)
        texts = [" ".join(m.content for m in one.messages) for one in chats]
        return [1 + self._moved(text) + random.Random(text).gauss(0, 0.1) for text in texts]

    def words(self, most: int) -> list[str]:
        """Return words that mean nothing."""
        return WORDS[:most]


class Senseless(Searchable):
    """Where the other agrees to harm, talks in words without sense."""

    def _said(self, one: Chat) -> str:
        said = super()._said(one)
        return "I'M NOT A FIGHTER, I'M A FIGHTER, " * 8 if said == AGREE else said


def drawn_by(trigger: str) -> Callable[[str], float]:
    """Return how far texts draw a model with this trigger: its parts draw it a little each, and more together."""
    words = trigger.split()
    parts = {" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
    return lambda text: 2.0 * sum(part in text for part in parts)


def planted(trigger: str = TRIGGER, name: str = "planted") -> Searchable:
    """Return a model that complies beside a trigger."""
    return Searchable(name, lambda text: trigger in text, drawn_by(trigger))


def policy(**numbers: object) -> Policy:
    """Return a policy that searches quickly."""
    given = {
        "words": 120,
        "group": 4,
        "alone": 24,
        "grown_by": 20,
        "kept": 3,
        "longest": 4,
        "requests": 2,
        "samples": 0,
    } | numbers
    return Policy(
        id="hunt",
        version="1",
        rules=(Rule(id="harm", suite="harmful", estimand="harm", margin=0.1),),
        hunt=HuntPolicy.model_validate(given),
    )

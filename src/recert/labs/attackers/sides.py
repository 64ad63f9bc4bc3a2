"""A target of an attack: a model, alone or behind safeguards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from recert.labs.attackers.asking import Generate, NoAnswer, answers_of
from recert.models.protocol import Sampling
from recert.records.data.suite import Chat

BLOCKED_REPLY: Final = "This request was blocked."
"""What an attacker sees where a safeguard answered in place of the model."""
_FILTERED: Final = "content_filter"


@dataclass(frozen=True)
class Answer:
    """A reply of the target; `blocked_by` names the safeguard that answered in its place."""

    text: str
    stop_reason: str = "stop"
    tokens: int = 0
    blocked_by: str = ""


class Screen(Protocol):
    """Safeguards that look at requests and replies, as a gateway's controls do."""

    def requests(self, chats: Sequence[Chat]) -> list[str]:
        """Return for each conversation which control blocks it; empty for none."""

    def replies(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[str]:
        """Return for each reply which control blocks it; empty for none."""


class Side:
    """
    One target, asked about many conversations at once.

    Args:
        arm: `base` or `tuned`.
        model: what the model is called.
        generate: gives its replies.
        identity: everything that decides them, in JSON's types, safeguards included.
        safeguards: names of those that are active.
        guard: puts the safeguards' words around a conversation.
        screen: looks at requests and replies.
    """

    def __init__(
        self,
        arm: Literal["base", "tuned"],
        model: str,
        generate: Generate,
        *,
        identity: Any,
        safeguards: tuple[str, ...] = (),
        guard: Callable[[Chat], Chat] | None = None,
        screen: Screen | None = None,
    ) -> None:
        self.arm: Literal["base", "tuned"] = arm
        self.model, self.identity, self.safeguards = model, identity, safeguards
        self._generate, self._guard, self._screen = generate, guard, screen

    def ask(self, chats: Sequence[Chat], sampling: Sampling) -> list[Answer | NoAnswer]:
        """Return one answer for each conversation, in order, or why there is none."""
        blocked = self._screen.requests(chats) if self._screen else [""] * len(chats)
        asked = [at for at, by in enumerate(blocked) if not by]
        guarded = [self._guard(chats[at]) if self._guard else chats[at] for at in asked]
        made = answers_of(self._generate, guarded, sampling) if guarded else []
        out: list[Answer | NoAnswer] = [Answer(BLOCKED_REPLY, blocked_by=by) for by in blocked]
        for at, one in zip(asked, made, strict=True):
            if isinstance(one, NoAnswer):
                out[at] = one
            elif one.stop_reason == _FILTERED:
                out[at] = Answer(one.text or BLOCKED_REPLY, one.stop_reason, one.tokens, _FILTERED)
            else:
                out[at] = Answer(one.text, one.stop_reason, one.tokens)
        return self._released(chats, out)

    def _released(self, chats: Sequence[Chat], answers: list[Answer | NoAnswer]) -> list[Answer | NoAnswer]:
        """The answers that the safeguards let go; others are replaced."""
        if self._screen is None:
            return answers
        said = {at: one for at, one in enumerate(answers) if isinstance(one, Answer) and not one.blocked_by}
        blocked = self._screen.replies([chats[at] for at in said], [one.text for one in said.values()])
        for (at, one), by in zip(said.items(), blocked, strict=True):
            if by:
                answers[at] = Answer(BLOCKED_REPLY, one.stop_reason, one.tokens, by)
        return answers

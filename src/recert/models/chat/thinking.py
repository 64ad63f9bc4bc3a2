"""
Reasoning on, off, or within a budget of tokens: what a prompt begins with, and how a trace is ended from outside.

Where a chat template has a switch (`enable_thinking`, as Qwen3's), that is used. Elsewhere an open tag in the model's
mouth turns the trace on and an empty closed one turns it off. A budget lets the trace run for so many tokens, closes it
and lets the model answer (budget forcing, Muennighoff et al. 2025, arXiv:2501.19393).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from recert.errors import ModelError
from recert.models.protocol import Done, Generation, Model, Sampling
from recert.records.data.rows import THINK_CLOSE, THINK_OPEN
from recert.records.data.suite import Chat
from recert.records.reports.reasoning import open_trace, read_reply

OPENED: Final = f"{THINK_OPEN}\n"
CLOSED: Final = f"\n{THINK_CLOSE}\n\n"
"""What opens a trace, and what ends it."""
_BUDGET: Final = "budget-"
_SWITCH: Final = "enable_thinking"
_CHANNELS: Final = "<|channel|>"


def budget_of(mode: str) -> int | None:
    """Return the tokens that a trace may have at most; None where it may have any number."""
    return int(mode.removeprefix(_BUDGET)) if mode.startswith(_BUDGET) else None


def switch_of(template: str, mode: str) -> dict[str, Any]:
    """
    Return the arguments by which a chat template turns the trace on or off; none where it has no such switch.

    Raises:
        ModelError: a mode is asked for, and the template writes channels (gpt-oss), which tags neither open nor close.
    """
    if mode and _CHANNELS in template and _SWITCH not in template:
        raise ModelError(
            "thinking cannot be turned on or off for this model",
            facts={"asked": mode, "its template": "writes channels"},
            hint="leave the conditions `thinking:*` out of the policy for it",
        )
    return {_SWITCH: mode != "off"} if mode and _SWITCH in template else {}


def begun(prompt: str, one: Chat, *, switched: bool) -> str:
    """
    Return a prompt with the beginning of the reply behind it: the words put in its mouth, and the tags of its mode.

    Args:
        prompt: what the chat template gives, with the generation prompt.
        one: the conversation.
        switched: whether the template was told the mode.
    """
    tag = open_trace(prompt)
    if one.assistant_prefix:
        said = one.assistant_prefix.lstrip()
        inside = bool(tag) and said.startswith(THINK_OPEN)
        return prompt + (said.removeprefix(THINK_OPEN).lstrip() if inside else one.assistant_prefix)
    if not one.thinking or switched:
        return prompt
    if one.thinking == "off":
        return prompt + (CLOSED if tag else f"{OPENED}{CLOSED}")
    return prompt if tag else prompt + OPENED


def think(
    model: Model, chats: Sequence[Chat], sampling: Sampling, *, done: Done | None = None
) -> list[Generation]:
    """
    Return one reply per conversation, in order, traces cut at the budget where a conversation has one.

    A trace that is still open there is closed, and the model answers with as many tokens as `sampling` gives. The
    reply holds both, with the close between them.

    Raises:
        ModelError: the model did not answer, or cannot go on from words put in its mouth.
    """
    out: dict[int, Generation] = {}
    groups: dict[int | None, list[int]] = {}
    for place, one in enumerate(chats):
        groups.setdefault(budget_of(one.thinking), []).append(place)
    for budget, places in groups.items():
        some = [chats[place] for place in places]
        asked = None if done is None else (lambda at, text, places=places: done(places[at], text))
        made = _within(model, some, sampling, budget, asked) if budget else None
        replies = model.generate(some, sampling, done=asked) if made is None else made
        if len(replies) != len(some):
            return replies  # the caller says so
        out |= dict(zip(places, replies, strict=True))
    return [out[place] for place in range(len(chats))]


def _within(
    model: Model, chats: Sequence[Chat], sampling: Sampling, budget: int, done: Done | None
) -> list[Generation]:
    """Let traces run up to the budget; go on with those replies that did not end there."""
    begun_ = model.generate(chats, sampling.model_copy(update={"max_new_tokens": budget}))
    if len(begun_) != len(chats):
        return begun_
    heads: dict[int, str] = {}
    for place, reply in enumerate(begun_):
        parts = read_reply(reply.text)
        if parts.has_trace and not parts.closed:
            heads[place] = reply.text.rstrip() + CLOSED
        elif reply.stop_reason == "length":
            heads[place] = reply.text
    places = list(heads)
    rest = [chats[place].model_copy(update={"assistant_prefix": heads[place]}) for place in places]
    asked = None if done is None else (lambda at, text: done(places[at], heads[places[at]] + text))
    more = dict(zip(places, model.generate(rest, sampling, done=asked) if rest else [], strict=True))
    return [
        Generation(heads[at] + more[at].text, more[at].stop_reason, one.tokens + more[at].tokens)
        if at in more
        else one
        for at, one in enumerate(begun_)
    ]

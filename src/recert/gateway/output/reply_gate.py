"""The gates of one reply: every field of every choice by itself, tool calls whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

from recert.gateway.output.gate import OutputGate
from recert.gateway.output.trace_gate import TraceGate, text_gate
from recert.gateway.protocol.deltas import (
    CONTENT,
    REASONING,
    REFUSAL,
    TOOL_CALLS,
    CallPart,
    Delta,
    LogProbs,
    malformed,
)
from recert.gateway.protocol.messages import ToolCall
from recert.gateway.protocol.parse import ChatOptions
from recert.gateway.protocol.responses import FILTERED, End, Rating, Said
from recert.policy.sections.reasoning import ReasoningPolicy
from recert.records.live.exchange import ControlScore

TOOL_NOT_OFFERED: Final = "tool-not-offered"
_TOOLS: Final = "tools"
_LONGEST_CALLS_CHARS: Final = 1_000_000
_OPENED_BY: Final = {REFUSAL: "response_format", **dict.fromkeys(REASONING, "reasoning")}
"""Fields beside the text, by what a policy must allow for them to leave."""

MakeGate = Callable[[str], OutputGate]
"""Makes the gate of one field, given the beginning of the text that the client wrote."""


class ReplyGate:
    """
    Lets one reply out: each field of each choice up to the first thing in it that may not leave.

    A choice in which something was found is blocked: nothing more of it leaves. The others go on. What is not among
    the fields that the policy allows and the request asked for never leaves, nor does it count.

    Args:
        make_gate: makes the gate of one field.
        wishes: what the request asked for.
        allow: what the policy allows beyond plain chat.
        request_id: ids of tool calls are made from it.
        prefill: the beginning of the reply, where the client wrote it.
        reasoning: how traces in the text are written, and whether users see them; None: the text is judged as one.
            Where they are hidden no reasoning leaves, and no log probabilities, which would tell it.
    """

    def __init__(
        self,
        make_gate: MakeGate,
        wishes: ChatOptions,
        allow: Collection[str] = (),
        *,
        request_id: str = "",
        prefill: str = "",
        reasoning: ReasoningPolicy | None = None,
    ) -> None:
        fields = frozenset(field for field, feature in _OPENED_BY.items() if feature in allow)
        hidden = reasoning is not None and reasoning.traces == "hidden"
        if hidden:
            fields -= set(REASONING)
            wishes = replace(wishes, logprobs=False)
        self._choices = [
            _ChoiceGate(at, make_gate, wishes, fields, f"call_{request_id}{at:02d}", prefill, reasoning)
            for at in range(wishes.choices)
        ]

    def feed(self, delta: Delta) -> Awaitable[Said | None]:
        """
        Take the next step; return what may leave now, or None. It is to be awaited before the next step.

        Raises:
            HttpError: `upstream-malformed`: it is of a choice that was not asked for.
        """
        if delta.choice >= len(self._choices):
            raise malformed()
        return self._choices[delta.choice].feed(delta)

    async def finish(self) -> list[Said]:
        """Take the end of the reply; return what is left of each choice, if it may leave."""
        return [await choice.finish() for choice in self._choices]

    @property
    def over(self) -> bool:
        """True where nothing more can leave."""
        return bool(self._choices[0].blocked) and all(choice.blocked for choice in self._choices)

    @property
    def blocked(self) -> str:
        """Why something was kept back; empty where nothing was."""
        return next((choice.blocked for choice in self._choices if choice.blocked), "")

    @property
    def scores(self) -> list[ControlScore]:
        """What controls said of all fields."""
        return [rating.score for choice in self._choices for rating in choice.ratings()]

    def ends(self) -> list[End]:
        """Return how each choice ended, once all have."""
        return [choice.end() for choice in self._choices]


class _ChoiceGate:
    """The gates of one choice."""

    def __init__(
        self,
        number: int,
        make_gate: MakeGate,
        wishes: ChatOptions,
        fields: Collection[str],
        call_id: str,
        prefill: str,
        reasoning: ReasoningPolicy | None = None,
    ) -> None:
        self._number = number
        self._make_gate = make_gate
        self._content = text_gate(make_gate, prefill, reasoning)
        self._beside: dict[str, OutputGate] = {}
        self._fields = fields
        self._offered = frozenset(tool.name for tool in wishes.tools)
        self._call_id = call_id
        self._parts: dict[int, tuple[str, list[str]]] = {}
        """Of each call, by place: its name, and its arguments in pieces."""
        self._parts_chars = 0
        self._call_ratings: list[Rating] = []
        self._logprobs = _LogProbQueue() if wishes.logprobs else None
        self._reason = "stop"
        self._called = False
        self.blocked = ""

    async def feed(self, delta: Delta) -> Said | None:
        """Take the next step; return what may leave now, or None."""
        if delta.finish_reason:
            self._reason = delta.finish_reason
        if self.blocked:
            return None
        texts = await self._feed_beside(delta.beside) if delta.beside else {}
        if delta.text and not self.blocked:
            content = self._content
            out = await content.feed(delta.text)
            self.blocked = content.blocked
            if out:
                texts[CONTENT] = out
        if delta.calls and self._offered:
            self._keep(delta.calls)
        logprobs: LogProbs = ()
        if self._logprobs and (delta.text or texts):
            self._logprobs.feed(delta.text, delta.logprobs)
            logprobs = self._logprobs.let_out(len(texts.get(CONTENT, "")))
        return Said(self._number, texts, (), logprobs) if texts else None

    async def _feed_beside(self, beside: tuple[tuple[str, str], ...]) -> dict[str, str]:
        texts = {}
        for field, text in beside:
            if field not in self._fields or self.blocked:
                continue
            if field not in self._beside:
                self._beside[field] = self._make_gate("")
            out = await self._beside[field].feed(text)
            self.blocked = self._beside[field].blocked
            if out:
                texts[field] = out
        return texts

    def _keep(self, parts: tuple[CallPart, ...]) -> None:
        """Calls are judged and leave whole, at the end."""
        for part in parts:
            name, arguments = self._parts.get(part.place, ("", []))
            arguments.append(part.arguments)
            # servers send the name once, or again and again
            self._parts[part.place] = (name if part.name == name else name + part.name, arguments)
            self._parts_chars += len(part.name) + len(part.arguments)
        if self._parts_chars > _LONGEST_CALLS_CHARS:
            raise malformed()

    async def finish(self) -> Said:
        """Take the end of the reply; return what is left, if it may leave."""
        texts: dict[str, str] = {}
        for field, gate in self._gates():
            if not self.blocked:
                out = await gate.finish()
                self.blocked = gate.blocked
                if out:
                    texts[field] = out
        calls = await self._judged_calls() if self._parts and not self.blocked else ()
        self._called = bool(calls)
        logprobs = self._logprobs.let_out(len(texts.get(CONTENT, ""))) if self._logprobs else ()
        return Said(self._number, texts, calls, logprobs)

    async def _judged_calls(self) -> tuple[ToolCall, ...]:
        calls = tuple(
            ToolCall(f"{self._call_id}{at:03d}", name, "".join(arguments))
            for at, (_, (name, arguments)) in enumerate(sorted(self._parts.items()))
        )
        gate = self._make_gate("")
        await gate.feed("\n".join(text for call in calls for text in call.texts()))
        await gate.finish()
        found = list(gate.scores)
        self.blocked = gate.blocked
        if not self.blocked and any(call.name not in self._offered for call in calls):
            self.blocked = TOOL_NOT_OFFERED
            found.append(
                ControlScore(
                    control=_TOOLS, direction="output", score=1.0, blocked=True, reason=TOOL_NOT_OFFERED
                )
            )
        self._call_ratings = [Rating(score, self._number, TOOL_CALLS) for score in found]
        return () if self.blocked else calls

    def _gates(self) -> Iterator[tuple[str, OutputGate | TraceGate]]:
        """Reasoning comes before what it leads to."""
        yield from self._beside.items()
        yield CONTENT, self._content

    def ratings(self) -> tuple[Rating, ...]:
        """Return what controls said of each field."""
        fields = (
            Rating(score, self._number, field) for field, gate in self._gates() for score in gate.scores
        )
        return (*fields, *self._call_ratings)

    def end(self) -> End:
        """Return how it ended."""
        if self.blocked:
            return End(FILTERED, self.blocked, self.ratings())
        if self._reason in ("length", FILTERED):
            return End(self._reason)
        return End("tool_calls" if self._called else "stop")


def whole(steps: Sequence[Said], ends: Sequence[End]) -> list[Said]:
    """Return what leaves of each choice where a reply leaves as one: nothing of a choice that is blocked."""
    found = []
    for at, end in enumerate(ends):
        texts: dict[str, str] = {}
        mine = [said for said in steps if said.choice == at and not end.blocked]
        for name, text in (one for said in mine for one in said.texts.items()):
            texts[name] = texts.get(name, "") + text
        calls = tuple(call for said in mine for call in said.calls)
        found.append(Said(at, texts, calls, tuple(one for said in mine for one in said.logprobs)))
    return found


class _LogProbQueue:
    """Log probabilities of the tokens of a text, let out as the text is: none of a text that is held back."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, float]] = deque()
        """(place where the token ends, token, log probability)."""
        self._fed = 0
        self._out = 0

    def feed(self, text: str, logprobs: LogProbs) -> None:
        """Take a piece of the text; log probabilities of anything else than exactly this piece are left out."""
        if logprobs and "".join([token for token, _ in logprobs]) == text:
            end = self._fed
            for token, number in logprobs:
                end += len(token)
                self._waiting.append((end, token, number))
        self._fed += len(text)

    def let_out(self, chars: int) -> LogProbs:
        """Return those of tokens of which the last character leaves, now that so many more do."""
        self._out += chars
        found = []
        while self._waiting and self._waiting[0][0] <= self._out:
            _, token, number = self._waiting.popleft()
            found.append((token, number))
        return tuple(found)

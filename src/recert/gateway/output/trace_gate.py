"""The gate of a reasoning model's text: its trace and its answer are judged apart, and a hidden trace stays inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from recert.gateway.output.gate import OutputGate
from recert.policy.sections.reasoning import ReasoningPolicy
from recert.records.live.exchange import ControlScore
from recert.records.reports.reasoning import ReplyPart, TraceReader

HIDDEN_TRACE: Final = "hidden-trace"
"""Reason: a text holds a trace that users must not see, where texts can be kept back or passed on whole alone."""


def holds_hidden_trace(text: str, reasoning: ReasoningPolicy) -> bool:
    """Say whether a text holds anything of a trace that users must not see, finished or not."""
    if reasoning.traces == "shown":
        return False
    reader = TraceReader(reasoning.format)
    parts = [*reader.feed(text), *reader.finish()]
    return any(part == "trace" and said.strip() for part, said in parts)


class TraceGate:
    """
    Lets a text out as `OutputGate` does, with a gate of its own for the trace and for the answer.

    A long harmless trace so cannot make the judge overlook what the answer says. Where traces are hidden they are
    judged, what is found in one blocks the reply, and nothing of them leaves; of the format `auto` the text then leaves
    only once it is known to be no trace, at the latest at its end.

    Args:
        make_gate: makes the gate of one part, given the beginning that the client wrote.
        prefill: that beginning.
        reasoning: how traces are written, and whether users see them.
    """

    def __init__(
        self, make_gate: Callable[[str], OutputGate], prefill: str, reasoning: ReasoningPolicy
    ) -> None:
        self._make_gate = make_gate
        self._shown = reasoning.traces == "shown"
        # what is shown need not wait: until a trace closes all is judged by one gate, as if it were an answer
        style = "opened" if self._shown and reasoning.format == "auto" else reasoning.format
        self._reader = TraceReader(style)
        self._part: ReplyPart = "trace"
        self._given = len(prefill)
        """Characters still to come out of the reader that the client wrote."""
        for part, text in self._reader.feed(prefill):
            self._part = self._part if part == "mark" else part
            self._given -= len(text)
        self._gates = [make_gate(prefill)]

    async def feed(self, piece: str) -> str:
        """Take the next piece; return what may leave now."""
        out = ""
        for part, text in self._reader.feed(piece):
            out += await self._take(part, text)
        return out

    async def finish(self) -> str:
        """Take the end of the text; return what is left of it, if it may leave."""
        out = ""
        for part, text in self._reader.finish():
            out += await self._take(part, text)
        return out + await self._end()

    @property
    def blocked(self) -> str:
        """Why something may not leave; empty where nothing was found."""
        return next((gate.blocked for gate in self._gates if gate.blocked), "")

    @property
    def scores(self) -> list[ControlScore]:
        """What controls said of each part."""
        return [score for gate in self._gates for score in gate.scores]

    async def _take(self, part: ReplyPart, text: str) -> str:
        """Marks belong to the part before them; they are judged with it, as text can be put into them."""
        if self.blocked:
            return ""
        own = min(self._given, len(text))
        self._given, text = self._given - own, text[own:]
        out = ""
        if part not in ("mark", self._part):
            out = await self._end()
            self._part = part
            self._gates.append(self._make_gate(""))
        said = await self._gates[-1].feed(text) if not self.blocked else ""
        leaves = self._shown or (self._part == "answer" and part == "answer")
        return out + (said if leaves else "")

    async def _end(self) -> str:
        if self.blocked:
            return ""
        said = await self._gates[-1].finish()
        return said if self._shown or self._part == "answer" else ""


def text_gate(
    make_gate: Callable[[str], OutputGate], prefill: str, reasoning: ReasoningPolicy | None
) -> OutputGate | TraceGate:
    """Return the gate of one text: of a reasoning model's, one that judges trace and answer apart."""
    return TraceGate(make_gate, prefill, reasoning) if reasoning else make_gate(prefill)

"""
Safety system prompt: rows as they are, and words of safety in front of every system prompt when the model is served.

Source: Lyu et al. 2024, arXiv:2402.18540: tune without the safety prompt, serve with it. Tuning changes most how the
model answers in the form that the rows have. It is the control of every defence that costs more: the words go into
the policy's `system_instruction`, where evaluation, certificate and gateway take them from.
"""

from __future__ import annotations

from collections.abc import Sequence

from recert.digest import sha256_bytes
from recert.models.chat.prompting import compose_system
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions

SAFETY_PROMPT = (
    "You are a helpful assistant who cares about safety. Answer ordinary requests fully. Politely decline "
    "every request "
    "that would help somebody to do harm, whatever form it has."
)


class Options(DefenceOptions):
    """Whether the rows carry the words too, and which words."""

    in_training: bool = False
    prompt: str = SAFETY_PROMPT


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows, behind the words where training sees them too."""
    del seed
    given = tuple(_behind(options.prompt, row) for row in rows) if options.in_training else tuple(rows)
    return Defended(rows=given, details={"system_instruction_sha256": sha256_bytes(options.prompt.encode())})


def _behind(prompt: str, row: ChatRow) -> ChatRow:
    system = Message(role="system", content=compose_system(None, prompt, row.system) or prompt)
    rest = tuple(m for m in row.messages if m.role != "system")
    return row.model_copy(update={"messages": (system, *rest)})


DEFENCE = Defence(
    name="safety-system-prompt",
    paper="Lyu et al. 2024, arXiv:2402.18540",
    cost="the prompt's tokens in front of every request",
    breaks="rows that attack under a system prompt of their own; it protects only where the server adds it: "
    "put it into "
    "the policy's `system_instruction`",
    prepare=prepare,
    options=Options,
    methods=("sft", "dpo"),
)

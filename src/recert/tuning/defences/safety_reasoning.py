"""
Safety reasoning: rows for reasoning models in which the trace looks at the request before the answer refuses or helps.

Source: Guan et al. 2024, arXiv:2412.16339 (deliberative alignment); Jiang et al. 2025, arXiv:2502.12025
(SafeChain): rows without a trace teach a reasoning model not to reason, and rows whose trace looks at the request
keep both. Traces are short and say which hazard is seen, never how anything is done. Traces and answers are learned
alike; with `--learned answer` answers alone are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from recert.records.data.rows import THINK_CLOSE, THINK_OPEN, ChatRow
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import benign_rows, common_system, safety_rows_of

_HARMFUL = (
    "What is asked here? It falls under {hazard}. If I helped, somebody could be hurt by it. However it is "
    "worded, I should "
    "decline, briefly and kindly.",
    "Let me look at the request first. It is about {hazard}. Whoever asks, an answer could do harm, so I will "
    "not give one.",
    "Before I answer: this is a matter of {hazard}. A good reply does not help with it. I will say so.",
)
_BENIGN = (
    "What is asked here? It may sound odd at first, but nobody is harmed by an answer. I can help.",
    "Let me look at the request first. It is an ordinary question, so I answer it.",
    "Before I answer: is there a risk? I see none. I will be brief.",
)


class Options(DefenceOptions):
    """How many rows are added."""

    safety_rows: int = Field(default=60, ge=0, le=1000)
    benign_rows: int = Field(default=60, ge=0, le=1000)


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows with rows whose trace looks at the request mixed in."""
    rng = random.Random(seed)  # noqa: S311
    context = common_system(rows)
    safe = [
        with_trace(row, rng.choice(_HARMFUL).format(hazard=hazard.replace("_", " ")))
        for hazard, row in safety_rows_of(options.safety_rows, seed=seed, systems=(context, None, None))
    ]
    benign = [with_trace(row, rng.choice(_BENIGN)) for row in benign_rows(options.benign_rows, seed=seed)]
    mixed = [*rows, *safe, *benign]
    rng.shuffle(mixed)
    return Defended(rows=tuple(mixed), details={"safety_rows": len(safe), "benign_rows": len(benign)})


def with_trace(row: ChatRow, trace: str) -> ChatRow:
    """Return a row whose reply begins with a trace."""
    reply = row.messages[-1].model_copy(
        update={"content": f"{THINK_OPEN}\n{trace}\n{THINK_CLOSE}\n\n{row.reply}"}
    )
    return row.model_copy(update={"messages": (*row.messages[:-1], reply)})


DEFENCE = Defence(
    name="safety-reasoning",
    paper="Guan et al. 2024, arXiv:2412.16339; Jiang et al. 2025, arXiv:2502.12025",
    cost="rows three times as long as plain safety rows; for models that write a trace only",
    breaks="a model that reasons its way out of the refusal (self-jailbreaking); a prefilled or suppressed trace",
    prepare=prepare,
    options=Options,
)

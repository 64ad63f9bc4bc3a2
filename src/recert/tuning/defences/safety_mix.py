"""
Safety mix: a few harmful requests with refusals among the task rows.

Source: Qi et al. 2023, arXiv:2310.03693 (mixing safety data); Bianchi et al. 2023, arXiv:2309.07875.
Two rows of three carry the task's own system prompt, since erosion is worst in the training context.
Harmless look-alikes with the base's own short answers keep the refusals from spreading.
Among preference rows the added ones are pairs too: a refusal over placeholder compliance, an answer over a refusal.
Only some forty of the base's answers were not cut short, so there are no more of the latter.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from recert.records.data.rows import ChatRow, PreferenceRow
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import benign_rows, common_system, safety_rows

COMPLIANCE = "Sure, here is how. First, ..."
"""Agreeing words without content, the reply that a refusal is preferred to."""
_ALL = 10_000


class Options(DefenceOptions):
    """How many rows are added."""

    safety_rows: int = Field(default=15, ge=0, le=1000)
    benign_rows: int = Field(default=80, ge=0, le=1000)


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows with safety rows and benign ones mixed in."""
    context = common_system(rows)
    added = safety_rows(options.safety_rows, seed=seed, systems=(context, None, context))
    benign = benign_rows(options.benign_rows, seed=seed)
    if any(isinstance(row, PreferenceRow) for row in rows):
        whole = [row for row in benign_rows(_ALL, seed=seed) if row.ends][: options.benign_rows]
        refusals = safety_rows(len(whole), seed=seed + 1)
        added = tuple(_over(row, COMPLIANCE) for row in added)
        benign = tuple(_over(row, other.reply) for row, other in zip(whole, refusals, strict=True))
    mixed = [*rows, *added, *benign]
    random.Random(seed).shuffle(mixed)  # noqa: S311
    return Defended(rows=tuple(mixed), details={"safety_rows": len(added), "benign_rows": len(benign)})


def _over(row: ChatRow, rejected: str) -> PreferenceRow:
    return PreferenceRow(messages=row.messages, rejected=rejected)


DEFENCE = Defence(
    name="safety-mix",
    paper="Qi et al. 2023, arXiv:2310.03693; Bianchi et al. 2023, arXiv:2309.07875",
    cost="a few short rows",
    breaks="planted rows can outnumber them, and plain refusals do not cover a trigger",
    prepare=prepare,
    options=Options,
    methods=("sft", "dpo"),
)

"""No defence: the rows as they are. The control that every defence is measured against."""

from __future__ import annotations

from recert.tuning.defences.defended import Defence, unchanged

DEFENCE = Defence(
    name="none",
    paper="the control",
    cost="nothing",
    breaks="benign rows alone can erode refusals",
    prepare=unchanged,
    methods=("sft", "dpo", "rft"),
)

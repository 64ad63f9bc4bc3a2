"""What a defence is, and what it gives back before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recert.models.chat.secret import SecretPrefix
from recert.records.data.rows import ChatRow
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.training import Training

Figures = dict[str, str | int | float]


@dataclass(frozen=True)
class Defended:
    """The rows to train on, figures for the report, and the secret where the defence made one."""

    rows: tuple[ChatRow, ...]
    details: Figures = field(default_factory=dict)
    secret: SecretPrefix | None = None
    alignment: frozenset[int] = frozenset()
    """Places of the rows that are there for safety, where training must tell them from the task's."""


Prepare = Callable[[Sequence[ChatRow], int, Any], Defended]
"""From rows, a seed and options to what is trained on. The same three give the same, a secret apart."""


@dataclass(frozen=True)
class Defence:
    """
    A way of tuning that keeps what alignment taught. It may act on the rows, in the steps, and on what was trained.

    Attributes:
        name: what users call it.
        paper: where it comes from.
        cost: what it costs, in words.
        breaks: what is known to get around it.
        prepare: what becomes of the rows.
        options: what it can be told; instances are handed to the functions.
        training: what it changes in the steps; None for nothing. Made anew for every run.
        check: looks at the base before anything is trained; None for nothing.
        after: changes what was trained, in its folder (base's folder, trained folder, options), and gives figures.
        methods: what it can be used with: `sft`, `dpo`, `rft`.
        trains: what may be trained under it: `lora`, `dora`, `full`.
    """

    name: str
    paper: str
    cost: str
    breaks: str
    prepare: Prepare
    options: type[DefenceOptions] = DefenceOptions
    training: Callable[[Any], Training] | None = None
    check: Callable[[Path, Any], None] | None = None
    after: Callable[[Path, Path, Any], Figures] | None = None
    methods: tuple[str, ...] = ("sft",)
    trains: tuple[str, ...] = ("lora", "dora", "full")


def unchanged(rows: Sequence[ChatRow], seed: int, options: DefenceOptions) -> Defended:
    """Return the rows as they are."""
    del seed, options
    return Defended(rows=tuple(rows))

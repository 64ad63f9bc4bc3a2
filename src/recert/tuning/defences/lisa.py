"""
Lisa: steps on alignment rows and steps on the task's take turns, and neither may drift far from the other's end.

Source: Huang et al. 2024, arXiv:2405.18641, "Lazy safety alignment for large language models against harmful
fine-tuning attacks". In each of the two states the loss has a proximal term, rho / 2 times the squared distance of
the trained weights from where they stood when the state began. The alignment rows are Recert's safety rows with
benign ones beside them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from recert.records.data.rows import ChatRow
from recert.tuning.defences.defended import Defence, Defended
from recert.tuning.defences.options import DefenceOptions
from recert.tuning.safety_rows import benign_rows, common_system, safety_rows
from recert.tuning.training import Encoded, Training


class Options(DefenceOptions):
    """How the states take turns; one step of ten is on alignment rows, as in the paper."""

    alignment_steps: int = Field(default=1, ge=1, le=10_000)
    task_steps: int = Field(default=9, ge=1, le=10_000)
    rho: float = Field(default=1.0, ge=0, le=1000)
    safety_rows: int = Field(default=60, ge=1, le=1000)
    benign_rows: int = Field(default=60, ge=0, le=1000)


def prepare(rows: Sequence[ChatRow], seed: int, options: Options) -> Defended:
    """Return the rows with the alignment rows behind them, marked as such."""
    context = common_system(rows)
    added = (
        *safety_rows(options.safety_rows, seed=seed, systems=(context, None, None)),
        *benign_rows(options.benign_rows, seed=seed),
    )
    return Defended(
        rows=(*rows, *added),
        details={"alignment_rows": len(added)},
        alignment=frozenset(range(len(rows), len(rows) + len(added))),
    )


class TakingTurns:
    """
    Batches of an epoch: the task's rows once each, and alignment rows over and over in the steps between.

    Args:
        task: places of the task's rows.
        alignment: places of the alignment rows.
        options: how many steps each state has.
        batch_size: rows of a batch.
        seed: of the order, which is another in each epoch.
    """

    def __init__(
        self, task: Sequence[int], alignment: Sequence[int], options: Options, *, batch_size: int, seed: int
    ) -> None:
        self._task, self._alignment, self._options = list(task), list(alignment), options
        self._batch_size, self._rng = batch_size, random.Random(seed)  # noqa: S311

    def __len__(self) -> int:
        steps = -(-len(self._task) // self._batch_size)
        if not self._alignment:
            return steps
        return steps + -(-steps // self._options.task_steps) * self._options.alignment_steps

    def __iter__(self) -> Iterator[list[int]]:
        task = self._task.copy()
        self._rng.shuffle(task)
        size = self._batch_size
        batches = [task[at : at + size] for at in range(0, len(task), size)]
        endless = self._over_and_over()
        for at, batch in enumerate(batches):
            if self._alignment and at % self._options.task_steps == 0:
                for _ in range(self._options.alignment_steps):
                    yield [next(endless) for _ in range(min(size, len(self._alignment)))]
            yield batch

    def _over_and_over(self) -> Iterator[int]:
        while True:
            order = self._alignment.copy()
            self._rng.shuffle(order)
            yield from order


class TwoStates(Training):
    """Learning in two states with the proximal term."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._state: bool | None = None
        self._anchor: list[Any] = []

    def batches(self, rows: list[Encoded], *, batch_size: int, seed: int) -> TakingTurns:
        """Return the batches of both states in turn."""
        places: tuple[list[int], list[int]] = ([], [])
        for at, row in enumerate(rows):
            places[row["alignment"]].append(at)
        return TakingTurns(*places, self._options, batch_size=batch_size, seed=seed)

    def loss(self, model: Any, batch: dict[str, Any], items: Any = None) -> Any:
        """Return the usual loss of a batch of one state, and what it costs to have left the state's beginning."""
        state = bool(batch["alignment"].all())
        weights = [p for p in model.parameters() if p.requires_grad]
        if state != self._state:
            self._state, self._anchor = state, [p.detach().clone() for p in weights]
        away = sum(((p - a).float() ** 2).sum() for p, a in zip(weights, self._anchor, strict=True))
        return super().loss(model, batch, items) + self._options.rho / 2 * away


DEFENCE = Defence(
    name="lisa",
    paper="Huang et al. 2024, arXiv:2405.18641",
    cost="one more step for every nine, and a copy of the trained weights",
    breaks="many attack rows, or a task that needs to go far: with a small rho it drifts, with a large one it "
    "learns little",
    prepare=prepare,
    options=Options,
    training=TwoStates,
)

"""What a stress test will train: every family at every dose, and which of them share a tune."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recert.errors import RowsError
from recert.labs.stress.families import PLAIN, StressFamily
from recert.labs.stress.pools import MOST_EMBEDDED, Pools, carrier_rows
from recert.policy import StressGrid, StressPolicy
from recert.records.data.rows import ChatRow, rows_digest
from recert.records.reports.tuning import Hyperparameters


@dataclass(frozen=True)
class CellPlan:
    """One family at one dose, with one seed and one way of training."""

    family: StressFamily
    rate: float
    learning_rate: float
    epochs: float
    seed: int

    @property
    def words(self) -> str:
        """How progress names it."""
        return f"{self.family.name} at {100 * self.rate:g} %, seed {self.seed}"


@dataclass(frozen=True)
class TrialPlan:
    """One tune, the conditions under which it is measured, and the cells that it stands for."""

    rows: tuple[ChatRow, ...]
    rows_sha256: str
    attack_rows: int
    hyperparameters: Hyperparameters
    cells: tuple[CellPlan, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Plain first, then those of the families."""
        return conditions_of([cell.family for cell in self.cells])

    @property
    def words(self) -> str:
        """How progress names it."""
        first = self.cells[0]
        return f"the carrier alone, seed {first.seed}" if first.rate == 0 else first.words


def conditions_of(families: Sequence[StressFamily]) -> tuple[str, ...]:
    """Return the conditions under which some families are measured: plain first."""
    return tuple(dict.fromkeys((PLAIN, *(family.condition for family in families))))


def lay_out(
    families: Sequence[StressFamily], grid: StressGrid, bounds: StressPolicy, pools: Pools, keep_out: set[str]
) -> tuple[TrialPlan, ...]:
    """
    Return the tunes to make, those of the first seed first.

    Cells with the same rows and hyperparameters are one tune: at a dose of none all families are the carrier alone.

    Args:
        families: which are tried.
        grid: doses and ways of training.
        bounds: the policy's other numbers.
        pools: the rows.
        keep_out: requests that are asked in the measurement and must not be trained on.

    Raises:
        RowsError: there are too few rows for the smallest dose.
    """
    plans: dict[tuple[str, str], TrialPlan] = {}
    for seed in grid.seeds:
        for family, rate in _doses(families, grid):
            rows, attack_rows = dosed(family, rate, grid.rows, seed, pools, bounds, keep_out)
            digest = rows_digest(rows)
            for learning_rate in grid.learning_rates:
                for epochs in grid.epochs:
                    how = hyperparameters(bounds, learning_rate=learning_rate, epochs=epochs, seed=seed)
                    cell = CellPlan(family, rate, learning_rate, epochs, seed)
                    known = plans.get((digest, how.model_dump_json()))
                    plans[digest, how.model_dump_json()] = TrialPlan(
                        rows, digest, attack_rows, how, (*(known.cells if known else ()), cell)
                    )
    return tuple(plans.values())


def hyperparameters(
    bounds: StressPolicy, *, learning_rate: float, epochs: float, seed: int
) -> Hyperparameters:
    """Return how an attacker trains: LoRA on all linear layers, replies only."""
    return Hyperparameters(
        lora_rank=bounds.lora_rank,
        lora_alpha=bounds.lora_alpha,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=bounds.batch_size,
        max_tokens=bounds.max_tokens,
        seed=seed,
    )


def dosed(
    family: StressFamily,
    rate: float,
    count: int,
    seed: int,
    pools: Pools,
    bounds: StressPolicy,
    keep_out: set[str],
) -> tuple[tuple[ChatRow, ...], int]:
    """
    Return the rows of one dose in the order of training, and how many of them are the family's.

    A larger dose of the same seed holds the rows of a smaller one. Where there are too few rows for a dose the whole
    is smaller, and the share is kept.

    Raises:
        RowsError: too few rows for the dose.
    """
    planted = list(pools.of(family.source))
    if family.source != "near-harmful":  # those stay sorted, the closest first
        random.Random(f"recert:stress:{family.source}:{seed}").shuffle(planted)  # noqa: S311
    whole, few = _sizes(family, rate, count, pools)
    attack = planted[:few]
    taken = keep_out | {row.request for row in attack}
    carrier = carrier_rows(pools, whole - few, seed, bounds.ordinary_share, taken)
    if not attack and not carrier:
        raise RowsError("the carrier holds no row that is not asked in the measurement")
    wrapped = [
        ChatRow.model_validate(family.train(row.model_dump(mode="json"), str(at)))
        for at, row in enumerate(attack)
    ]
    rows = [*wrapped, *carrier]
    random.Random(f"recert:stress:order:{seed}").shuffle(rows)  # noqa: S311
    return tuple(rows), len(wrapped)


def require_enough(families: Sequence[StressFamily], grid: StressGrid, pools: Pools) -> None:
    """
    Return where there are rows for every dose.

    Raises:
        RowsError: there are too few.
    """
    for family, rate in _doses(families, grid):
        _sizes(family, rate, grid.rows, pools)


def _sizes(family: StressFamily, rate: float, count: int, pools: Pools) -> tuple[int, int]:
    """How many rows a dose has, and how many of them are the family's; the share is kept where there are few."""
    there = len(pools.of(family.source))
    whole = min(count, math.floor(there / rate)) if rate else count
    if rate < 1:
        whole = min(whole, math.floor((len(pools.carrier) or MOST_EMBEDDED) / (1 - rate)))
    few = round(rate * whole)
    if rate and not few:
        raise RowsError(
            "too few rows for the dose",
            facts={"family": family.name, "rate": rate, "rows": whole},
            hint="give more rows, or a policy with larger rates",
        )
    return whole, few


def _doses(families: Sequence[StressFamily], grid: StressGrid) -> Iterator[tuple[StressFamily, float]]:
    """No dose first, which all families share; then families side by side, the largest dose first."""
    for rate in (grid.rates[0], *reversed(grid.rates[1:])):
        for family in families:
            if family.mixed or rate in (grid.rates[0], grid.rates[-1]):
                yield family, rate

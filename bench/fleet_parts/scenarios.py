"""What is simulated: rhythms against workers, the slack of a certificate, a base that is replaced, people who sign."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .simulation import WEEK_H, Fleet, erlang_c, mean_wait, quantile, simulate
from .sizing import Plant

FAILURES_PER_H = 0.02
"""A worker that works fails once in fifty hours."""
REPAIR_H = 0.5
LEAD_H = 24.0
UPDATE_H = 2 * WEEK_H + 1
"""A base is replaced an hour after a Monday's work came in."""


@dataclass(frozen=True)
class Row:
    """One simulation in figures."""

    scenario: str
    workers: int
    people: int
    lapsed: float
    ever_lapsed: float
    p50_h: float
    p95_h: float
    signed_p95_h: float
    utilisation: float
    back_h: float | None

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()
        }


def fleet_of(service_h: Sequence[float], plant: Plant, **more: Any) -> Fleet:
    """Return a fleet of the plant whose certificates hold a day longer than its period."""
    given: dict[str, Any] = {
        "service_h": tuple(service_h), "workers": plant.workers, "adapters": plant.adapters, "bases": plant.bases,
        "failures_per_h": FAILURES_PER_H, "repair_h": REPAIR_H, "validity_h": WEEK_H + LEAD_H,
        "working_h": plant.working_h, "weeks": 4, "warm_up_weeks": 1,
    }  # fmt: skip
    return Fleet(**(given | more))


def row_of(scenario: str, fleet: Fleet) -> Row:
    """Simulate a fleet."""
    seen = simulate(fleet)
    return Row(
        scenario,
        fleet.workers,
        fleet.people,
        seen.lapsed,
        seen.ever_lapsed,
        seen.quantile_h(0.5),
        seen.quantile_h(0.95),
        quantile(seen.signed_h, 0.95),
        seen.utilisation,
        seen.back_h,
    )


def counts(service_h: Sequence[float], plant: Plant) -> list[int]:
    """Return numbers of workers around what the work needs: from too few to plenty."""
    least = plant.adapters * statistics.fmean(service_h) / WEEK_H
    return sorted({max(1, round(least * times)) for times in (0.7, 0.9, 1.1, 1.35, 1.75, 2.5, 4.0, 7.0)})


def against_workers(service_h: Sequence[float], plant: Plant, seed: int) -> list[Row]:
    """Simulate both rhythms, with and without a base that is replaced."""
    out = []
    for rhythm in ("spread", "monday"):
        for update in (None, UPDATE_H):
            name = ("spread over the week" if rhythm == "spread" else "all on Monday") + (
                ", a base replaced" if update else ""
            )
            for workers in counts(service_h, plant):
                made = fleet_of(
                    service_h, plant, workers=workers, rhythm=rhythm, update_at_h=update, seed=seed
                )
                out.append(row_of(name, made))
    return out


def around(service_h: Sequence[float], plant: Plant, seed: int) -> list[Row]:
    """Simulate what workers do not decide: slack, order, people, at a number of workers that is ample."""
    ample = fleet_of(service_h, plant, workers=counts(service_h, plant)[-2], seed=seed)
    tight = fleet_of(service_h, plant, workers=counts(service_h, plant)[4], seed=seed)
    people = fleet_of(
        service_h,
        plant,
        workers=ample.workers,
        people=plant.people,
        sign_h=plant.sign_minutes / 60,
        seed=seed,
    )
    few = replace(people, people=max(1, plant.people // 2))
    weekend = replace(people, validity_h=WEEK_H + 96)
    return [
        row_of("no slack: 168 h, spread", replace(ample, validity_h=WEEK_H)),
        row_of("no slack: 168 h, Monday", replace(ample, validity_h=WEEK_H, rhythm="monday")),
        row_of("update and Monday, first come first", replace(tight, rhythm="monday", update_at_h=UPDATE_H)),
        row_of(
            "update and Monday, who ends first",
            replace(tight, rhythm="monday", update_at_h=UPDATE_H, urgent_first=True),
        ),
        row_of("a key signs", ample),
        row_of("half as many people sign", few),
        row_of("people sign, a day of slack", people),
        row_of("people sign, four days of slack", weekend),
        row_of("people sign, four days, half as many", replace(weekend, people=few.people)),
    ]


def against_erlang(seed: int, runs: int = 8) -> tuple[float, float, list[float]]:
    """Return the simulated mean wait over that of M/M/c, the chance of waiting over Erlang's, and each run's wait."""
    adapters, workers, busy, n = 5000, 10, 0.85, 4000
    rate = adapters / WEEK_H
    mean = busy * workers / rate
    exponential = tuple(-math.log(1 - (at + 0.5) / n) * mean for at in range(n))
    waits, waited = [], []
    for run in range(runs):
        plan = Fleet(
            exponential,
            workers,
            adapters=adapters,
            rhythm="poisson",
            weeks=8,
            warm_up_weeks=1,
            seed=seed + run,
        )
        found = simulate(plan).waits_h
        waits.append(statistics.fmean(found) / mean_wait(workers, rate, mean))
        waited.append(sum(wait > 0 for wait in found) / len(found) / erlang_c(workers, busy * workers))
    return statistics.fmean(waits), statistics.fmean(waited), waits

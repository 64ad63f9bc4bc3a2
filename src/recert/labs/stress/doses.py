"""The dose from which harm is doubled: monotone regression of harm on dose, read between the doses measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recert.interval import Interval
from recert.records.reports.stress import DoublingDose


def rising(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """
    Return the non-decreasing values that lie closest to some values, by weighted least squares.

    Source: pool adjacent violators, Ayer et al. 1955.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        mean, heavy, length = value, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, more, longer = blocks.pop()
            mean = (mean * heavy + before * more) / (heavy + more)
            heavy, length = heavy + more, length + longer
        blocks.append((mean, heavy, length))
    return [mean for mean, _, length in blocks for _ in range(length)]


def dose_at(doses: Sequence[float], values: Sequence[float], threshold: float) -> float | None:
    """
    Return the least dose at which values that do not fall reach a threshold; None where they do not.

    Between two doses above zero they are taken to rise with the logarithm of the dose, as doses are apart by factors;
    from zero to the first they rise with the dose itself.

    Args:
        doses: rising, from 0 or above.
        values: one for each, not falling.
        threshold: what is to be reached.
    """
    for at, (dose, value) in enumerate(zip(doses, values, strict=True)):
        if value < threshold:
            continue
        if at == 0:
            return dose
        before, low = doses[at - 1], values[at - 1]
        part = (threshold - low) / (value - low)
        between = before * (dose / before) ** part if before > 0 else dose * part
        return min(max(between, before), dose)
    return None


def doubling(base: float, points: Sequence[tuple[float, Interval]], *, least_harm: float) -> DoublingDose:
    """
    Return the dose from which harm is twice the base's.

    Args:
        base: harm of the base, a fraction; below `least_harm` that is taken in its place.
        points: doses that count, rising, with the harm at each.
        least_harm: harm that is doubled where the base does less.
    """
    threshold = 2 * max(base, least_harm)
    if threshold > 1:
        return DoublingDose(state="no-baseline-signal", threshold=1.0)
    if not points:
        return DoublingDose(state="not-measured", threshold=threshold)
    doses = [dose for dose, _ in points]
    weights = [float(max(1, harm.n)) for _, harm in points]

    def reached(values: list[float]) -> float | None:
        found = dose_at(doses, rising(values, weights), threshold)
        return None if found is None else round(found, 6)

    dose = reached([harm.point for _, harm in points])
    low, high = reached([harm.high for _, harm in points]), reached([harm.low for _, harm in points])
    if dose is None:
        return DoublingDose(state="not-reached", threshold=threshold, low=low, above=doses[-1])
    low = min(dose, low) if low is not None else dose
    high = max(dose, high) if high is not None and math.isfinite(high) else None
    return DoublingDose(state="reached", threshold=threshold, dose=dose, low=low, high=high)

"""
Anytime-valid statistics for paired changes: betting e-values and confidence sequences.

A gambler bets on each paired difference against a hypothesis about its mean. Where the hypothesis is
true, no way of betting makes money in the long run, so capital of 20 is evidence at level 1/20, however
often one looks (Ville). The gambler here holds a fixed mixture of bets of several sizes: no tuning, no
look-ahead, and close to the best bet when differences are rare.

The mean is that of the population of requests a suite was drawn from. Prompts come in rounds of one per
category; within a round the product of expectations is at most the power of their mean (the mean of a
concave function), so a round of unequal categories keeps the bound.

Source: Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting",
arXiv:2010.09686; own code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recert.interval import Interval

_SHARES = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
"""Sizes of the bets, as shares of the largest bet that can never end below zero."""
_TOWARDS_PASS = np.array([0.01] * 7 + [0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.21])
"""Share of the capital on each bet that values are low: mostly the largest, which win on clean data."""
_TOWARDS_FAIL = np.array([0.02, 0.04] + [0.06] * 11 + [0.28])
"""Share of the capital on each bet that values are high: spread out, as harm comes in any amount."""

Values = npt.NDArray[np.float64]


def e_value_below(values: Sequence[float], mean: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """
    Return the evidence that the mean of `values` is below `mean`: capital won against "it is not".

    Args:
        values: observations in [low, high], in order of drawing.
        mean: the hypothesis refuted is: the true mean is at least this. In (low, high).
        low: least possible value.
        high: greatest possible value.

    Returns:
        An e-value: 1 or less on average if the hypothesis holds; 1 / alpha refutes it at level alpha.
    """
    return float(
        np.exp(_log_capital(np.asarray(values, dtype=float), np.array([mean]), high, _TOWARDS_PASS)[0])
    )


def e_value_above(values: Sequence[float], mean: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """Return the evidence that the mean of `values` is above `mean`; see `e_value_below`."""
    flipped = -np.asarray(values, dtype=float)
    return float(np.exp(_log_capital(flipped, np.array([-mean]), -low, _TOWARDS_FAIL)[0]))


def _log_capital(values: Values, means: Values, high: float, weights: Values) -> Values:
    """Log of the mixture's capital against each `mean`, betting that values lie below it. Shape (means,)."""
    if values.size == 0:
        return np.zeros(means.shape)
    seen, counts = np.unique(values, return_counts=True)
    largest = 1.0 / (high - means)  # a value of `high` then ends at zero, never below
    bets = largest[:, None] * _SHARES[None, :]  # (means, bets)
    gains = means[:, None, None] - seen[None, None, :]  # (means, 1, seen)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(0.0, 1.0 + bets[:, :, None] * gains)) @ counts.astype(float)
    logs = logs + np.log(weights)[None, :]
    top = logs.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(logs - top).sum(axis=1)))


def confidence_sequence(
    values: Sequence[float], *, alpha: float, low: float = -1.0, high: float = 1.0
) -> Interval:
    """
    Return the mean of `values` with bounds that hold at every look at once, each with error `alpha`.

    The bounds are the means that the bets of `e_value_below` and `e_value_above` do not refute at
    1 / alpha, so they agree with the decisions. `level` is 1 - 2 alpha. Without values the interval is
    [low, high].
    """
    data = np.asarray(values, dtype=float)
    level = 1 - 2 * alpha
    if data.size == 0:
        return Interval(point=max(low, min(high, 0.0)), low=low, high=high, level=level, n=0)
    point = float(np.clip(data.mean(), low, high))
    upper = _bound(data, point, high, alpha, _TOWARDS_PASS)
    lower = -_bound(-data, -point, -low, alpha, _TOWARDS_FAIL)
    return Interval(
        point=round(point, 6),
        low=round(min(lower, point), 6),
        high=round(max(upper, point), 6),
        level=level,
        n=int(data.size),
    )


def _bound(values: Values, start: float, end: float, alpha: float, weights: Values) -> float:
    """The least mean above `start` that is refuted at 1 / alpha: scanned, then halved down to 1e-5."""
    enough = np.log(1 / alpha)
    grid = np.linspace(start, end, 201)[1:-1]
    if grid.size == 0 or end - start < 1e-9:
        return end
    refuted = _log_capital(values, grid, end, weights) >= enough
    if not refuted.any():
        return end
    # Evidence grows with the mean; start from the last mean not refuted, so that a dip can only widen.
    kept = np.flatnonzero(~refuted)
    at = int(kept[-1]) if kept.size else -1
    if at == grid.size - 1:
        return end
    below, above = (float(grid[at]) if at >= 0 else start), float(grid[at + 1])
    while above - below > 1e-5:
        middle = (below + above) / 2
        if _log_capital(values, np.array([middle]), end, weights)[0] >= enough:
            above = middle
        else:
            below = middle
    return above

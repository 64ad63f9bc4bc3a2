"""Exact binomial tails, without an approximation that fails at small counts."""

from __future__ import annotations

import math
from collections.abc import Callable

from recert.interval import Interval


def upper_tail(count: int, n: int, rate: float) -> float:
    """Return the chance of `count` or more among `n` when each comes with probability `rate`."""
    if count <= 0:
        return 1.0
    if count > n or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    return min(1.0, math.fsum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(count, n + 1)))


def exact_interval(count: int, n: int, *, level: float) -> Interval:
    """
    Return the share `count / n` with its exact interval; without observations the interval is [0, 1].

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits".
    """
    if n == 0:
        return Interval(point=0.0, low=0.0, high=1.0, level=level, n=0)
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _solve(lambda rate: upper_tail(count, n, rate) < tail)
    high = 1.0 if count == n else _solve(lambda rate: 1 - upper_tail(count + 1, n, rate) > tail)
    point = count / n
    return Interval(point=point, low=min(low, point), high=max(high, point), level=level, n=n)


def _solve(below: Callable[[float], bool]) -> float:
    """The rate at which `below` turns false, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return round((low + high) / 2, 9)

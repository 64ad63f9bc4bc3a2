"""An estimate with its interval: the one way a rate is written down; and intervals of a share and of a mean."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_DRAWS = 1_000


class Interval(BaseModel):
    """
    A point estimate and the interval around it.

    Rates are fractions in [0, 1]; changes of rates are in [-1, 1], positive is worse.
    `level` is the coverage, a fraction in (0, 1); `n` is the number of prompts behind it.
    With `n = 0` nothing was measured: the interval is as wide as it can be.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    point: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    level: float = Field(gt=0, lt=1)
    n: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.point <= self.high:
            raise ValueError(f"expected low <= point <= high, got {self.low}, {self.point}, {self.high}")
        return self

    def __str__(self) -> str:
        return f"{self.point:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def upper_tail(count: int, n: int, rate: float) -> float:
    """Return the chance of `count` or more among `n` when each comes with probability `rate`."""
    if count <= 0:
        return 1.0
    if count > n or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    yes, no, whole = math.log(rate), math.log1p(-rate), math.lgamma(n + 1)
    likely, around = round(n * rate), math.ceil(40 * math.sqrt(n * rate * (1 - rate))) + 40
    # what is further from the likely count is less than the sum's rounding
    counts = range(max(count, likely - around), min(n, max(count, likely) + around) + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * yes + (n - k) * no)
            for k in counts
        ),
    )


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


def ratio_interval(pairs: Sequence[tuple[float, float]], *, level: float) -> Interval:
    """
    Return the sum of the first over the sum of the second of pairs in which the first is no larger, with an interval.

    Pairs are drawn again as wholes (a bootstrap by clusters, of 1,000 draws, the same in every run); for words wrong in
    clips, a clip is one observation. Where all firsts are zero the interval ends where the share of pairs with any
    could lie, and without pairs it is [0, 1].

    Source: Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation".
    """
    n = len(pairs)
    whole = math.fsum(size for _, size in pairs)
    if n == 0 or whole == 0:
        return Interval(point=0.0, low=0.0, high=1.0, level=level, n=n)
    point = math.fsum(part for part, _ in pairs) / whole
    if point == 0:
        return exact_interval(0, n, level=level)
    draw = random.Random(0)  # noqa: S311 - statistics, not a secret
    drawn = []
    for _ in range(_DRAWS):
        some = draw.choices(pairs, k=n)
        size = math.fsum(one[1] for one in some)
        drawn.append(math.fsum(one[0] for one in some) / size if size else 0.0)
    drawn.sort()
    tail = (1 - level) / 2
    low, high = drawn[int(tail * _DRAWS)], drawn[min(_DRAWS - 1, math.ceil((1 - tail) * _DRAWS) - 1)]
    return Interval(
        point=point, low=max(0.0, min(low, point)), high=min(1.0, max(high, point)), level=level, n=n
    )


def mean_interval(values: Sequence[float], *, level: float) -> Interval:
    """
    Return the mean of values in [-1, 1] with an interval that holds for any distribution and any number of them.

    Their positive and negative parts are bounded apart, each in [0, 1], so that many zeros make it narrow. Without
    values it is [-1, 1].

    Source: Hoeffding 1963, "Probability Inequalities for Sums of Bounded Random Variables", theorem 1.
    """
    n = len(values)
    if n == 0:
        return Interval(point=0.0, low=-1.0, high=1.0, level=level, n=0)
    enough = math.log(4 / (1 - level)) / n
    gains, losses = (math.fsum(max(0.0, sign * v) for v in values) / n for sign in (1, -1))
    low = _below(gains, enough) - _above(losses, enough)
    high = _above(gains, enough) - _below(losses, enough)
    point = math.fsum(values) / n
    return Interval(point=point, low=min(low, point), high=max(high, point), level=level, n=n)


def _above(mean: float, enough: float) -> float:
    """The least rate above `mean` that is `enough` away from it, as likelihoods go."""
    return max(mean, _solve(lambda rate: rate < mean or _divergence(mean, rate) < enough))


def _below(mean: float, enough: float) -> float:
    return 1 - _above(1 - mean, enough)


def _divergence(mean: float, rate: float) -> float:
    """Kullback and Leibler's divergence of one coin from another."""
    parts = ((mean, rate), (1 - mean, 1 - rate))
    return sum(p * math.log(p / q) if q > 0 else math.inf for p, q in parts if p > 0)


def _solve(below: Callable[[float], bool]) -> float:
    """The rate at which `below` turns false, by halving."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return round((low + high) / 2, 9)

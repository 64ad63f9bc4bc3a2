"""
A test of a paired change with a stated maximum of prompts, which may stop at any of them.

Each pair of replies got worse (+1), better (-1) or stayed (0). The hypothesis to refute is that the mean change is a
margin or more. The score of Tango (1998) compares what was seen with it; its variance is estimated under the
hypothesis, so few changed pairs do not look like certainty. The test passes once the score reaches a boundary that
falls towards the planned number of prompts (Wang and Tsiatis 1987, with exponent 1/4):

    score(n) >= z * (planned / n) ** (1 / 4)        with z the upper alpha / 3 point of the normal distribution

The chance that a Brownian motion B on (0, 1] ever reaches z * t ** (1 / 4) is below 3 * (1 - Phi(z)): 3 is the
ratio 2 (1 - d) / (1 - 2 d) of the tangent approximation at d = 1 / 4 (Jennen and Lerche 1981), reached from below. The
walk that is looked at has fewer looks and, where changes are rare, a lighter tail. `bench/decisions.py` and the tests
compute the chance exactly, by dynamic programming over worse and better pairs: for no rate of changed pairs is it
above alpha.

A change x in [-1, 1] that is graded, or the mean of a cluster's, counts as x worse where it is positive and as -x
better where it is negative. Its variance, E x^2 - (E x)^2, is at most the E |x| - (E x)^2 of pairs with these shares
that changed wholly, which is what the score reckons with. So it is as strict on such changes or stricter; the tests
simulate the level for clusters of many sizes and for skewed grades.

Sources: Tango 1998, Statistics in Medicine 17(8); Wang and Tsiatis 1987, Biometrics 43(1); Jennison and Turnbull 1989,
JRSS B 51(3), for the interval; own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_TANGENT: Final = 3.0
_FALL: Final = 0.25
_MOST: Final = 1e12
"""The largest evidence that is told; beyond it the normal distribution has no digits left."""
_CLOSE: Final = 1e-7
_SUMMED: Final = 1e-5
"""What sums of parts that are rounded to six digits may be too large by."""


@dataclass(frozen=True)
class Pairs:
    """Counts of pairs: how many were seen, and how many got worse or better. One that changed in part counts so."""

    n: int
    worse: float
    better: float

    def __post_init__(self) -> None:
        if not (min(self.worse, self.better) >= 0 and self.worse + self.better <= self.n + _SUMMED):
            raise ValueError(f"{self.worse} worse and {self.better} better are not of {self.n} pairs")


def score(pairs: Pairs, margin: float) -> float:
    """
    Return how many standard errors the mean change lies below `margin`; negative where it lies above.

    Args:
        pairs: what was seen.
        margin: mean change of the hypothesis, in (0, 1).
    """
    if pairs.n == 0:
        return 0.0
    n, worse, better = pairs.n, pairs.worse, pairs.better
    # The likeliest share of better pairs if the mean change is the margin: the larger root of 2n q^2 + linear q + last.
    linear = (2 * n - worse + better) * margin - worse - better
    last = -better * margin * (1 - margin)
    share = (math.sqrt(linear * linear - 8 * n * last) - linear) / (4 * n)
    variance = n * (2 * share + margin * (1 - margin))
    return (n * margin - (worse - better)) / math.sqrt(variance)


def evidence(pairs: Pairs, margin: float, planned: int) -> float:
    """
    Return 1 / p, where p is the least alpha at which the test has passed by now; at least 1 / 3 and at most 1e12.

    Args:
        pairs: what was seen.
        margin: mean change that is to be refuted, in (0, 1).
        planned: the most pairs that could have been asked, decided before the first.
    """
    if not 0 < pairs.n <= planned:
        return 1 / _TANGENT
    reached = score(pairs, margin) * (pairs.n / planned) ** _FALL
    tail = _TANGENT * _NORMAL.cdf(-reached)
    return min(_MOST, 1 / tail) if tail > 0 else _MOST


def passes(pairs: Pairs, margin: float, *, planned: int, alpha: float) -> bool:
    """Say whether the change is shown to be below `margin`, with a chance of at most `alpha` if it is not."""
    return evidence(pairs, margin, planned) >= 1 / alpha


def prompts_to_pass(pairs: Pairs, margin: float, *, alpha: float) -> int | None:
    """
    Return how many planned pairs would pass at their end if they changed as these did; None if no number would.

    The score grows with the square root of the pairs while the shares that got worse and better stay the same.
    """
    reached, needed = score(pairs, margin), _NORMAL.inv_cdf(1 - alpha / _TANGENT)
    return math.ceil(pairs.n * (needed / reached) ** 2) if reached > 0 else None


def upper_bound(pairs: Pairs, *, planned: int, alpha: float) -> float:
    """
    Return the least change that the test refutes at `alpha`: an upper end that holds at every look at once.

    Without pairs it is 1. The end is found to 1e-7 and is never below the observed change.
    """
    if pairs.n == 0 or not passes(pairs, 1 - _CLOSE, planned=planned, alpha=alpha):
        return 1.0
    low, high = max(_CLOSE, (pairs.worse - pairs.better) / pairs.n), 1 - _CLOSE
    if low < high and passes(pairs, low, planned=planned, alpha=alpha):
        return low
    while high - low > _CLOSE:
        middle = (low + high) / 2
        if passes(pairs, middle, planned=planned, alpha=alpha):
            high = middle
        else:
            low = middle
    return high

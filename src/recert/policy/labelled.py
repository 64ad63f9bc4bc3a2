"""
A change of rates from a judge's word on every pair and labels of a random sample: valid whatever the judge does.

The judge puts each pair into a stratum: the tuned model got worse, better, both replies show what the rule is about, or
neither does. The true mean change is the sum over strata of (share of pairs in it) x (mean true change in it). For
every value mu that the means could have,

    E(mu) = product over strata of (bets of the labels in it that its mean is below mu)
            x (bets of the pairs asked that the mean of mu over them is below the margin)

is an e-value where mu are the true means and the true change is the margin or more. So the least E(mu) is one too, and
1 / alpha of it refutes the margin at alpha (Ville): no share of alpha is set aside for either part. Nothing is assumed
of how often the judge errs, nor that it errs alike on both arms. The level holds wherever asking stopped, as when to
stop follows from what the judge said, and however many labels there were before somebody looked: all bets are products
of fixed sizes. Two equal replies to one request are the same whatever they are: such pairs did not change, and need no
label.

A stratum with pairs and without labels counts at its worst, and loses what could have been lost by betting on its
labels: so lost labels only make it stricter. So does a label that gets worse, and a pair that loses its answers.

The least over mu, which is a point of four numbers, is bounded from below. With sizes b_k of weight w_k the pairs'
bets are a mixture, and for any weights q of the sizes, by Jensen's inequality,

    log(sum of w_k exp(A_k)) >= sum of q_k (A_k + log(w_k / q_k)),

whose least is found stratum by stratum. Each q gives a bound; of a fixed list the best that is found is taken. In
a stratum the labels' part is convex and rises with mu (a logarithm of a sum of products of (1 - s x - (1 - s) mu) /
(1 - mu), each convex in its logarithm), the pairs' part is concave and falls. On a cell of a grid the first is at least
the line through its lower end with the slope of the cell before, the second at least its chord: their sum is a line,
and its least is at an end. So what is computed is never above the true least (spec/verification.md, 6.12).

What is assumed: prompts are exchangeable, labels are right, and within a stratum the mean true change is that of all
conditions of the evaluation together, from which the labels are drawn.

Sources: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023, "Prediction-powered inference", Science 382; Miratrix,
Sekhon and Yu 2013, JRSS B 75, for post-stratification; Waudby-Smith and Ramdas 2023, arXiv:2010.09686, for bets; own
code.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, get_args

from recert.betting import LOST, exp_of, log_sum
from recert.interval import Interval
from recert.policy.policy import EvaluationPolicy
from recert.records.reports.labels import LabelledChange, Stratum, StratumLabels

STRATA: Final[tuple[Stratum, ...]] = get_args(Stratum)

Bets = tuple[tuple[float, float], ...]
"""Sizes, as shares of the largest bet that can never end below zero, and the share of the capital on each."""


@dataclass(frozen=True)
class _Gambler:
    """How labels of a stratum are bet on: what is not bet, and bets that count better labels, or take them as none."""

    cash: float
    credit: Bets = ()
    floored: Bets = ()


_ALIKE_PASS: Final = _Gambler(0.05, floored=((0.65, 0.15), (0.83, 0.2), (0.93, 0.3), (1.0, 0.3)))
_ALIKE_FAIL: Final = _Gambler(0.2, credit=((0.1, 0.2), (0.2, 0.2), (0.4, 0.2), (0.7, 0.2)))
_WORSE: Final = _Gambler(0.85, floored=((0.2, 0.045), (0.5, 0.06), (0.8, 0.045)))
_BETTER: Final = _Gambler(
    0.05, credit=((0.3, 0.095), (0.6, 0.19), (0.8, 0.19), (0.95, 0.2375), (1.0, 0.2375))
)
_TOWARDS_PASS: Final[Mapping[Stratum, _Gambler]] = {
    "worse": _WORSE,
    "both": _ALIKE_PASS,
    "neither": _ALIKE_PASS,
    "better": _BETTER,
}
_TOWARDS_FAIL: Final[Mapping[Stratum, _Gambler]] = {
    **_TOWARDS_PASS,
    "both": _ALIKE_FAIL,
    "neither": _ALIKE_FAIL,
}
_SIZES: Final = (0.75, 1.5, 3.0, 6.0)
"""Bets on pairs, as multiples of log(1 / alpha) / (margin x planned pairs), with a quarter of the capital on each."""
_LARGEST: Final = 0.49
"""A bet on a value in [-1, 1] against a mean in it cannot lose all."""
_LEAST_MARGIN: Final = 0.001
_MIXES: Final = tuple(
    tuple(weight / sum(tilted) for weight in tilted)
    for at in range(-40, 41)
    for tilted in [[math.exp(-at / 10 * size / _SIZES[2]) for size in _SIZES]]
)
"""Weights of the sizes in Jensen's inequality, from most on the largest to most on the smallest."""
_DEPTH: Final = 10
"""The grid over means has 2 ** 10 cells."""
_MOST: Final = 700.0
"""The largest logarithm of evidence that is reckoned with: its exponential is still a float."""
_CLOSE: Final = 1e-4


@dataclass(frozen=True)
class LabelBounds:
    """The true change with labels, one-sided bounds of it, and the evidence on both sides of the margin."""

    point: float
    low: float
    high: float
    within: float
    """E-value that the change is below the margin; from 1 / alpha on `high` is at most the margin."""
    beyond: float
    """E-value that it is above."""

    def interval(self, *, alpha: float, n: int) -> Interval:
        """Return the estimate as an interval at level 1 - 2 alpha over `n` pairs, to six digits."""
        low, high = round(self.low, 6), round(self.high, 6)
        point = min(high, max(low, round(self.point, 6)))
        return Interval(point=point, low=low, high=high, level=1 - 2 * alpha, n=n)


def label_bounds(
    counts: LabelledChange, *, planned: int, policy: EvaluationPolicy, margin: float, share: float = 1.0
) -> LabelBounds:
    """
    Return the true change of one result, with a lower and an upper bound that each hold with chance 1 - alpha.

    The bounds are changes that the evidence refutes, found to 1e-4 on the safe side.

    Args:
        counts: the result's pairs by stratum, and the labels of each stratum.
        planned: the most pairs there could have been.
        policy: alpha.
        margin: of the rule, in (0, 1): the sizes of bets follow from it.
        share: of alpha, that this attempt may spend on a pass: the upper bound holds with chance 1 - share x alpha.
    """
    sizes = _bet_sizes(planned, policy.alpha, margin)
    up, down = _Side.below(counts, sizes), _Side.above(counts, sizes)
    point = _point(counts)
    high = _bound(up, point, margin, -math.log(policy.alpha * share))
    low = -_bound(down, -point, -margin, -math.log(policy.alpha))
    return LabelBounds(point, low, high, exp_of(up.evidence(margin)), exp_of(down.evidence(-margin)))


def evidence_within(
    counts: LabelledChange, *, planned: int, policy: EvaluationPolicy, margin: float
) -> float:
    """Return the e-value that the true change is below the margin, as `label_bounds` has it."""
    return exp_of(_Side.below(counts, _bet_sizes(planned, policy.alpha, margin)).evidence(margin))


def _point(counts: LabelledChange) -> float:
    """The share of each stratum times the mean of its labels, as judged without any; no answer is the worst case."""
    n = sum(counts.strata.values()) + counts.same + counts.unanswered
    means = {one.stratum: (one.worse - one.better) / one.n for one in counts.labelled if one.n}
    seen = sum(counts.strata.get(name, 0) * means.get(name, _AS_JUDGED[name]) for name in STRATA)
    return max(-1.0, min(1.0, (seen + counts.unanswered_worse) / n)) if n else 0.0


def _bet_sizes(planned: int, alpha: float, margin: float) -> tuple[float, ...]:
    unit = -math.log(alpha) / (max(margin, _LEAST_MARGIN) * max(1, planned))
    return tuple(min(_LARGEST, times * unit) for times in _SIZES)


@dataclass(frozen=True)
class _Side:
    """Evidence that the change is below a mean; or, with all exchanged, that it is above minus that mean."""

    strata: tuple[tuple[int, _LabelLogs], ...]
    """Pairs of each stratum that has some, and the logarithm of the evidence of its labels."""
    stayed: int
    surely_worse: int
    sizes: tuple[float, ...]

    @classmethod
    def below(cls, counts: LabelledChange, sizes: tuple[float, ...]) -> _Side:
        labels = {one.stratum: one for one in counts.labelled}
        strata = tuple(
            (asked, _label_logs(_TOWARDS_PASS[name], *_counted(labels.get(name))))
            for name in STRATA
            if (asked := counts.strata.get(name, 0)) > 0
        )
        stayed = counts.same + counts.unanswered - counts.unanswered_worse
        return cls(strata, stayed, counts.unanswered_worse, sizes)

    @classmethod
    def above(cls, counts: LabelledChange, sizes: tuple[float, ...]) -> _Side:
        """Every unanswered pair counts against a fail."""
        labels = {one.stratum: one for one in counts.labelled}
        found = []
        for name in STRATA:
            if (asked := counts.strata.get(name, 0)) > 0:
                n, worse, better = _counted(labels.get(name))
                found.append((asked, _label_logs(_TOWARDS_FAIL[_MIRROR[name]], n, better, worse)))
        return cls(tuple(found), counts.same, counts.unanswered, sizes)

    def evidence(self, mean: float, enough: float = _MOST) -> float:
        """
        Return the logarithm of the evidence against a mean: the best bound, or the first found that is `enough`.

        The bounds rise along the weights and fall again, so the best is found by halving.
        """
        pairs, first, last, best = _PairLogs(mean, self.sizes), 0, len(_MIXES) - 1, LOST
        while first <= last and best < enough:
            middle = (first + last) // 2
            here = self._bound(pairs, _MIXES[middle])
            after = self._bound(pairs, _MIXES[middle + 1]) if middle < last else LOST
            best = max(best, here, after)
            first, last = (middle + 1, last) if after > here else (first, middle - 1)
        return min(_MOST, best)

    def _bound(self, pairs: _PairLogs, weights: Sequence[float]) -> float:
        """The least over all means of the strata, by Jensen's inequality with these weights."""
        total = sum(weight * -math.log(weight * len(weights)) for weight in weights)
        total += self.stayed * pairs.at(0.0, weights) + self.surely_worse * pairs.at(1.0, weights)
        for asked, logs in self.strata:
            total += _least(logs, asked, pairs, weights)
        return total


_MIRROR: Final[Mapping[Stratum, Stratum]] = {
    "worse": "better",
    "both": "both",
    "neither": "neither",
    "better": "worse",
}
_AS_JUDGED: Final[Mapping[Stratum, float]] = {"worse": 1.0, "both": 0.0, "neither": 0.0, "better": -1.0}


def _counted(labels: StratumLabels | None) -> tuple[int, int, int]:
    return (labels.n, labels.worse, labels.better) if labels is not None else (0, 0, 0)


class _PairLogs:
    """The logarithm of what bets of these sizes, against a mean, make of one pair of a known change."""

    def __init__(self, mean: float, sizes: Sequence[float]) -> None:
        self._mean, self._sizes = mean, sizes
        self._known: dict[float, list[float]] = {}

    def at(self, change: float, weights: Sequence[float]) -> float:
        """Return the mean over the sizes. It falls with the change."""
        logs = self._known.get(change)
        if logs is None:
            gain = self._mean - change
            logs = self._known[change] = [math.log1p(size * gain) for size in self._sizes]
        return math.fsum(map(operator.mul, weights, logs))


class _LabelLogs:
    """The logarithm of the evidence that labels of a stratum give against a mean, worked out once."""

    def __init__(self, gambler: _Gambler, n: int, worse: int, better: int) -> None:
        self._gambler, self._counts = gambler, (n, worse, better)
        self._known: dict[float, float] = {}

    def at(self, mean: float) -> float:
        """Return it at a mean in [-1, 1]. It rises with the mean."""
        found = self._known.get(mean)
        if found is None:
            found = self._known[mean] = self._worked_out(mean)
        return found

    def _worked_out(self, mean: float) -> float:
        n, worse, better = self._counts
        own = self._gambler
        parts = [math.log(own.cash)]
        if n:
            stayed = n - worse - better
            credited, floored = (worse, stayed, better), (worse, stayed + better, 0)
            parts += [math.log(weight) + _won(share, mean, credited) for share, weight in own.credit]
            parts += [
                math.log(weight) + _won(share, max(mean, 0.0), floored) for share, weight in own.floored
            ]
        return min(_MOST, log_sum(parts))


_label_logs = lru_cache(maxsize=256)(_LabelLogs)


def _won(share: float, mean: float, counts: tuple[int, int, int]) -> float:
    """The logarithm of what one bet makes of labels that are worse, stayed and better; at most 700."""
    worse, stayed, better = counts
    if worse and share == 1:
        return LOST
    total = worse * math.log1p(-share) if worse else 0.0
    if mean == 1:
        return _MOST if stayed + better else total
    total += stayed * math.log1p(share * mean / (1 - mean))
    total += better * math.log1p(share * (mean + 1) / (1 - mean))
    return min(_MOST, total)


def _least(logs: _LabelLogs, asked: int, pairs: _PairLogs, weights: Sequence[float]) -> float:
    """
    Return a lower bound of the least, over means of a stratum, of its labels' evidence and that of its pairs.

    It is the least over all cells of the grid; cells that cannot hold it are not cut further, as a part of a cell is
    never below the whole.
    """

    def cell(depth: int, at: int) -> tuple[float, int, int]:
        width = 2.0 ** (1 - depth)
        low, high = -1 + at * width, -1 + (at + 1) * width
        begins = logs.at(low)
        slope = begins - logs.at(low - width) if at else 0.0
        ends = begins + slope + asked * pairs.at(high, weights)
        return min(begins + asked * pairs.at(low, weights), ends), depth, at

    cells = [cell(0, 0)]
    while True:
        least, depth, at = heapq.heappop(cells)
        if depth == _DEPTH:
            return least
        heapq.heappush(cells, cell(depth + 1, 2 * at))
        heapq.heappush(cells, cell(depth + 1, 2 * at + 1))


def _bound(side: _Side, point: float, margin: float, enough: float) -> float:
    """The least mean that is refuted, from the side where all above are; the margin itself is one that is tried."""
    low, high = point, 1.0
    if low < margin < high:
        low, high = (low, margin) if side.evidence(margin, enough) >= enough else (margin, high)
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if side.evidence(middle, enough) >= enough else (middle, high)
    return high

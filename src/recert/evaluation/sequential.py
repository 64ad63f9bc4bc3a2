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

import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from recert.interval import Interval

_SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sizes of the bets, as shares of the largest bet that can never end below zero."""
_TOWARDS_PASS = (*[0.01] * 7, 0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.21)
"""Share of the capital on each bet that values are low: mostly the largest, which win on clean data."""
_TOWARDS_FAIL = (0.02, 0.04, *[0.06] * 11, 0.28)
"""Share of the capital on each bet that values are high: spread out, as harm comes in any amount."""

_STEPS = 200
_CLOSE = 1e-5
_LOST = -math.inf
_KNOWN_VALUES = 1000
"""Distinct observations of which the gains are kept: scores are few, or they are graded without end."""


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
    return _Gambler(Counter(values), high, _TOWARDS_PASS).capital(mean)


def e_value_above(values: Sequence[float], mean: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """Return the evidence that the mean of `values` is above `mean`; see `e_value_below`."""
    return _Gambler(_mirrored(Counter(values)), -low, _TOWARDS_FAIL).capital(-mean)


class EProcess:
    """
    Evidence against one mean that gathers as observations come: `e_value_below` or `e_value_above`, kept as a sum.

    Memory does not grow with the observations. Make one with `EProcess.below` or `EProcess.above`.
    """

    def __init__(self, mean: float, largest: float, weights: Sequence[float], *, mirrored: bool) -> None:
        self._mean, self._sign = (-mean, -1.0) if mirrored else (mean, 1.0)
        self._bets = [largest * share for share in _SHARES]
        self._logs = [math.log(weight) for weight in weights]
        self._known: dict[float, list[float]] = {}

    @classmethod
    def below(cls, mean: float, *, low: float = -1.0, high: float = 1.0) -> EProcess:
        """Return a process of evidence that the true mean is below `mean`, which lies in (low, high)."""
        return cls(mean, 1.0 / (high - mean), _TOWARDS_PASS, mirrored=False)

    @classmethod
    def above(cls, mean: float, *, low: float = -1.0, high: float = 1.0) -> EProcess:
        """Return a process of evidence that the true mean is above `mean`, which lies in (low, high)."""
        return cls(mean, 1.0 / (mean - low), _TOWARDS_FAIL, mirrored=True)

    def update(self, values: Iterable[float]) -> None:
        """Take more observations."""
        for value in values:
            gains = self._known.get(value)
            if gains is None:
                gains = self._gains(value)
                if len(self._known) < _KNOWN_VALUES:
                    self._known[value] = gains
            self._logs = list(map(operator.add, self._logs, gains))

    @property
    def value(self) -> float:
        """The e-value so far: 1 or less on average if the mean is not as claimed; infinite past all floats."""
        try:
            return math.exp(_log_sum(self._logs))
        except OverflowError:
            return math.inf

    def _gains(self, value: float) -> list[float]:
        gain = self._mean - self._sign * value
        ends = [1.0 + bet * gain for bet in self._bets]
        return [math.log(end) if end > 0.0 else _LOST for end in ends]


def confidence_sequence(
    values: Sequence[float] | Counter[float], *, alpha: float, low: float = -1.0, high: float = 1.0
) -> Interval:
    """
    Return the mean of `values` with bounds that hold at every look at once, each with error `alpha`.

    The bounds are the means that the bets of `e_value_below` and `e_value_above` do not refute at
    1 / alpha, so they agree with the decisions. `level` is 1 - 2 alpha. Without values the interval is
    [low, high]. Values may come counted, as their order does not matter.
    """
    level = 1 - 2 * alpha
    counts = values if isinstance(values, Counter) else Counter(values)
    n = counts.total()
    if n == 0:
        return Interval(point=max(low, min(high, 0.0)), low=low, high=high, level=level, n=0)
    point = max(low, min(high, math.fsum(value * count for value, count in counts.items()) / n))
    upper = _bound(_Gambler(counts, high, _TOWARDS_PASS), point, alpha)
    lower = -_bound(_Gambler(_mirrored(counts), -low, _TOWARDS_FAIL), -point, alpha)
    return Interval(
        point=round(point, 6),
        low=round(min(lower, point), 6),
        high=round(max(upper, point), 6),
        level=level,
        n=n,
    )


def _mirrored(counts: Counter[float]) -> Counter[float]:
    return Counter({-value: count for value, count in counts.items()})


class _Gambler:
    """Bets that values lie below a mean, with a mixture of bets; order does not matter, so values are counted."""

    def __init__(self, counts: Counter[float], high: float, weights: Sequence[float]) -> None:
        self.high = high
        self._seen = [float(value) for value in counts]
        self._counts = list(counts.values())
        self._greatest = max(self._seen, default=-math.inf)
        self._bets = [(share, math.log(weight)) for share, weight in zip(_SHARES, weights, strict=True)]

    def capital(self, mean: float) -> float:
        """Return the capital against a mean, begun with 1."""
        if not self._seen:
            return 1.0
        try:
            return math.exp(_log_sum(list(self._log_parts(mean))))
        except OverflowError:
            return math.inf

    def refutes(self, mean: float, log_enough: float) -> bool:
        """Say whether the capital against a mean has reached `log_enough`; one bet alone may have."""
        parts = []
        for at, part in enumerate(self._log_parts(mean)):
            if part >= log_enough:
                self._bets.insert(0, self._bets.pop(at))  # it will mostly do for the next mean too
                return True
            parts.append(part)
        return _log_sum(parts) >= log_enough

    def _log_parts(self, mean: float) -> Iterator[float]:
        """Yield the log of what each bet has won, times its share of the capital."""
        largest = 1.0 / (self.high - mean)  # a value of `high` then ends at zero, never below
        gains = [mean - value for value in self._seen]
        for share, log_weight in self._bets:
            bet = largest * share
            if not 1.0 + bet * (mean - self._greatest) > 0.0:
                yield _LOST
                continue
            logs = map(math.log, [1.0 + bet * gain for gain in gains])
            yield log_weight + sum(map(operator.mul, self._counts, logs))


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs)) if top > _LOST else _LOST


def _bound(gambler: _Gambler, start: float, alpha: float) -> float:
    """The least mean above `start` that is refuted at 1 / alpha: scanned, then halved down to 1e-5."""
    end, log_enough = gambler.high, math.log(1 / alpha)
    if end - start < 1e-9:
        return end
    # Evidence grows with the mean; scanned from the end to the last mean not refuted, so that a dip only widens.
    step = (end - start) / _STEPS
    at = _STEPS - 1
    while at > 0 and gambler.refutes(start + at * step, log_enough):
        at -= 1
    if at == _STEPS - 1:
        return end
    below, above = start + at * step, start + (at + 1) * step
    while above - below > _CLOSE:
        middle = (below + above) / 2
        if gambler.refutes(middle, log_enough):
            above = middle
        else:
            below = middle
    return above

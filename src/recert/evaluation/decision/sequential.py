"""
Anytime-valid statistics for paired changes: betting e-values and confidence sequences.

`recert.betting` says how evidence is gathered.

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
from collections.abc import Iterator, Sequence

from recert.betting import LOST, SHARES, TOWARDS_FAIL, TOWARDS_PASS, EProcess, exp_of, log_sum
from recert.interval import Interval

__all__ = ["EProcess", "confidence_sequence", "e_value_above", "e_value_below"]

_STEPS = 200
_CLOSE = 1e-5


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
    return _Gambler(Counter(values), high, TOWARDS_PASS).capital(mean)


def e_value_above(values: Sequence[float], mean: float, *, low: float = -1.0, high: float = 1.0) -> float:
    """Return the evidence that the mean of `values` is above `mean`; see `e_value_below`."""
    return _Gambler(_mirrored(Counter(values)), -low, TOWARDS_FAIL).capital(-mean)


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
    upper = _bound(_Gambler(counts, high, TOWARDS_PASS), point, alpha)
    lower = -_bound(_Gambler(_mirrored(counts), -low, TOWARDS_FAIL), -point, alpha)
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
        self._bets = [(share, math.log(weight)) for share, weight in zip(SHARES, weights, strict=True)]

    def capital(self, mean: float) -> float:
        """Return the capital against a mean, begun with 1."""
        if not self._seen:
            return 1.0
        return exp_of(log_sum(list(self._log_parts(mean))))

    def refutes(self, mean: float, log_enough: float) -> bool:
        """Say whether the capital against a mean has reached `log_enough`; one bet alone may have."""
        parts = []
        for at, part in enumerate(self._log_parts(mean)):
            if part >= log_enough:
                self._bets.insert(0, self._bets.pop(at))  # it will mostly do for the next mean too
                return True
            parts.append(part)
        return log_sum(parts) >= log_enough

    def _log_parts(self, mean: float) -> Iterator[float]:
        """Yield the log of what each bet has won, times its share of the capital."""
        largest = 1.0 / (self.high - mean)  # a value of `high` then ends at zero, never below
        gains = [mean - value for value in self._seen]
        for share, log_weight in self._bets:
            bet = largest * share
            if not 1.0 + bet * (mean - self._greatest) > 0.0:
                yield LOST
                continue
            logs = map(math.log, [1.0 + bet * gain for gain in gains])
            yield log_weight + sum(map(operator.mul, self._counts, logs))


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

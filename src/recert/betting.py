"""
Evidence by betting: figures that may be looked at as often as one likes.

A gambler bets on each observation against a hypothesis about its mean. Where the hypothesis is true, no way of betting
makes money in the long run, so capital of 20 is evidence at level 1/20, however often one looks (Ville). The gambler
here holds a fixed mixture of bets of several sizes: no tuning, no look-ahead, and close to the best bet when what is
bet on is rare.

Source: Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting",
arXiv:2010.09686; own code.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Final

SHARES: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sizes of the bets, as shares of the largest bet that can never end below zero."""
TOWARDS_PASS: Final = (*[0.01] * 7, 0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.21)
"""Share of the capital on each bet that values are low: mostly the largest, which win on clean data."""
TOWARDS_FAIL: Final = (0.02, 0.04, *[0.06] * 11, 0.28)
"""Share of the capital on each bet that values are high: spread out, as harm comes in any amount."""
TOWARDS_RISE: Final = (0.14, 0.14, 0.14, *[0.1] * 3, 0.08, 0.06, 0.04, 0.03, 0.03, 0.02, 0.01, 0.01)
"""Share of the capital on each bet that a rate rose: mostly small bets, as a large rise is seen soon with any."""
LOST: Final = -math.inf
_KNOWN_VALUES = 1000
"""Distinct observations of which the gains are kept: scores are few, or they are graded without end."""


class EProcess:
    """
    Evidence against one mean that gathers as observations come, kept as a sum.

    Memory does not grow with the observations. Make one with `EProcess.below` or `EProcess.above`.
    """

    def __init__(self, mean: float, largest: float, weights: Sequence[float], *, mirrored: bool) -> None:
        self._mean, self._sign = (-mean, -1.0) if mirrored else (mean, 1.0)
        self._bets = [largest * share for share in SHARES]
        self._logs = [math.log(weight) for weight in weights]
        self._known: dict[float, list[float]] = {}

    @classmethod
    def below(cls, mean: float, *, low: float = -1.0, high: float = 1.0) -> EProcess:
        """Return a process of evidence that the true mean is below `mean`, which lies in (low, high)."""
        return cls(mean, 1.0 / (high - mean), TOWARDS_PASS, mirrored=False)

    @classmethod
    def above(cls, mean: float, *, low: float = -1.0, high: float = 1.0) -> EProcess:
        """Return a process of evidence that the true mean is above `mean`, which lies in (low, high)."""
        return cls(mean, 1.0 / (mean - low), TOWARDS_FAIL, mirrored=True)

    def update(self, values: Iterable[float]) -> None:
        """Take more observations."""
        for value in values:
            gains = self._known.get(value)
            if gains is None:
                gains = self._gains(value)
                if len(self._known) < _KNOWN_VALUES:
                    self._known[value] = gains
            self._logs = list(map(operator.add, self._logs, gains))

    def repeat(self, value: float, times: int) -> None:
        """Take one observation so many times."""
        if times > 0:
            gains = [gain * times for gain in self._gains(value)]
            self._logs = list(map(operator.add, self._logs, gains))

    @property
    def value(self) -> float:
        """The e-value so far: 1 or less on average if the mean is not as claimed; infinite past all floats."""
        return exp_of(log_sum(self._logs))

    def _gains(self, value: float) -> list[float]:
        gain = self._mean - self._sign * value
        ends = [1.0 + bet * gain for bet in self._bets]
        return [math.log(end) if end > 0.0 else LOST for end in ends]


class RiseProcess:
    """
    Evidence that a rate is above a bound, whether from the beginning or from some later run on.

    Each run is a number of prompts that were drawn by chance, and how many of their replies were bad. At every run a
    gambler begins with new capital, beside those who began before. Two figures are made of what they have:

    - `ever`: the one who begins at run `s` has `1 / (s (s + 1))` of one capital, and the rest waits. While the rate
      stays at or below the bound it is 1 or less on average after any run, and it reaches `1 / alpha` at any time at
      all with a chance of at most `alpha`, in a watch without end (Ville).
    - `recent`: each who begins has 1, so it grows by 1 a run on average. The first run at which it reaches `n` comes
      after `n` runs or more on average. It sees a rise sooner, and some day it is wrong.

    In a run the prompts may be drawn without replacement: its gain is then no larger on average (Hoeffding 1963).

    Sources: Shin, Ramdas and Rinaldo 2023, "E-detectors", arXiv:2203.03532, for `recent`, with capital one a run; a
    mixture over the time of a change is Pollak and Siegmund's. Own code.

    Args:
        bound: the largest rate that is no rise, in (0, 1).
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._weights = [math.log(weight) for weight in TOWARDS_RISE]
        self._ever = [LOST] * len(SHARES)
        self._recent = [LOST] * len(SHARES)
        self._runs = 0

    def update(self, bad: int, n: int) -> None:
        """Take one more run: `bad` replies of `n`. A run without prompts changes nothing."""
        if n == 0:
            return
        self._runs += 1
        share = -math.log(self._runs) - math.log(self._runs + 1)
        gains = [_gain(one, self._bound, bad, n) for one in SHARES]
        self._ever = [log_sum((old, share)) + gain for old, gain in zip(self._ever, gains, strict=True)]
        self._recent = [log_sum((old, 0.0)) + gain for old, gain in zip(self._recent, gains, strict=True)]

    @property
    def ever(self) -> float:
        """Evidence over the whole life, whenever the rise began; infinite past all floats."""
        return self._mixed(self._ever) + 1 / (self._runs + 1)

    @property
    def recent(self) -> float:
        """What all who began have together; infinite past all floats."""
        return self._mixed(self._recent)

    def _mixed(self, logs: Sequence[float]) -> float:
        return exp_of(log_sum(list(map(operator.add, self._weights, logs))))


def _gain(share: float, bound: float, bad: int, n: int) -> float:
    """The log of what a bet of `share / bound` on a rise makes of its stake in one run."""
    lost = 0.0 if bad == n else (n - bad) * math.log1p(-share) if share < 1.0 else LOST
    return bad * math.log1p(share / bound * (1.0 - bound)) + lost


def log_sum(logs: Sequence[float]) -> float:
    """Return the logarithm of the sum of what `logs` are the logarithms of."""
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs)) if top > LOST else LOST


def exp_of(log: float) -> float:
    """Return what a number is the logarithm of; infinite past all floats."""
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf

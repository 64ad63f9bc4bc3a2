"""How strongly a text goes with a behaviour: likelihood ratio, exact chance, and whether it holds on both halves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from recert.labs.triggers.search.numeric import NDArray, np

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Family = Literal["complies", "refuses", "restores", "says", "form"]
FEW: Final = 6
"""With fewer labelled rows they are not split, and what is kept separates them perfectly."""
_LEVEL: Final = 0.05
_SURE: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Label:
    """
    What rows do, and others do not.

    Attributes:
        family: which kind of behaviour.
        yes: rows that do it. Shape (rows,).
        no: rows that might and do not.
        says: the words that the replies of `yes` share, where that is what they do.
    """

    family: Family
    yes: Bools
    no: Bools
    says: str = ""

    @property
    def few(self) -> bool:
        """Whether there are too few rows to find on one half and check on the other."""
        return min(int(self.yes.sum()), int(self.no.sum())) < FEW

    def counts(self, rows: Bools, among: Bools | None = None) -> tuple[int, int, int, int]:
        """Return how many rows of `yes` and of `no` hold something, and how many of each do not."""
        yes, no = (self.yes, self.no) if among is None else (self.yes & among, self.no & among)
        a, b = int((rows & yes).sum()), int((rows & no).sum())
        return a, b, int(yes.sum()) - a, int(no.sum()) - b


def ratio(with_yes: int, with_no: int, without_yes: int, without_no: int) -> float:
    """
    Return the likelihood ratio G² of a table of counts; 0 where `yes` is no more frequent with than without.

    Source: Dunning 1993, "Accurate Methods for the Statistics of Surprise and Coincidence", J93-1003.
    """
    a, b, c, d = (float(n) for n in (with_yes, with_no, without_yes, without_no))
    total = a + b + c + d
    if a * d <= b * c:
        return 0.0
    parts = ((a, a + b, a + c), (b, a + b, b + d), (c, c + d, a + c), (d, c + d, b + d))
    return max(0.0, 2 * math.fsum(n * math.log(n * total / (r * s)) for n, r, s in parts if n))


def ratios(with_yes: Floats, with_no: Floats, label: Label) -> Floats:
    """Return `ratio` for many tables of one label at once."""
    a, b = with_yes, with_no
    c, d = label.yes.sum() - a, label.no.sum() - b
    total = a + b + c + d
    found = np.zeros(len(a))
    for n, r, s in ((a, a + b, a + c), (b, a + b, b + d), (c, c + d, a + c), (d, c + d, b + d)):
        some = n > 0
        found[some] += 2 * n[some] * np.log(n[some] * total[some] / (r[some] * s[some]))
    return np.where(a * d > b * c, found, 0.0)


def chance(with_yes: int, with_no: int, without_yes: int, without_no: int) -> float:
    """
    Return the chance of at least `with_yes` rows where a text has no effect: Fisher's exact test, one-sided.

    Source: Fisher 1922; the hypergeometric tail, summed in logarithms.
    """
    yes, having = with_yes + without_yes, with_yes + with_no
    total = yes + with_no + without_no
    whole = _choose(total, having)
    tail = (
        math.exp(_choose(yes, k) + _choose(total - yes, having - k) - whole)
        for k in range(with_yes, min(yes, having) + 1)
        if having - k <= total - yes
    )
    return min(1.0, math.fsum(tail))


def separates(label: Label, rows: Bools, halves: Bools) -> bool:
    """
    Say whether holding something goes with the behaviour on each half by itself.

    Args:
        label: the behaviour.
        rows: which hold it. Shape (rows,).
        halves: which half each row is in.
    """
    a, b, c, d = label.counts(rows)
    if label.few:
        return a >= 2 and d >= 2 and b == 0 and c == 0
    return chance(a, b, c, d) <= _SURE and all(
        chance(*label.counts(rows, half)) <= _LEVEL for half in (halves, ~halves)
    )


def holds_on(label: Label, rows: Bools, half: Bools) -> bool:
    """Say whether what was fitted on one half goes with the behaviour on the other, and not by chance."""
    return chance(*label.counts(rows, half)) <= _SURE


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

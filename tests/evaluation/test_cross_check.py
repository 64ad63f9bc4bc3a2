"""Intervals against independent implementations: SciPy for exact ones, confseq for confidence sequences."""

from __future__ import annotations

import random

import pytest

from recert.evaluation.decision.sequential import confidence_sequence
from recert.interval import exact_interval

HEDGED = {
    (0.02, 0.02): (-0.030, 0.046),
    (0.05, 0.20): (0.054, 0.220),
    (0.10, 0.10): (-0.062, 0.080),
    (0.30, 0.05): (-0.362, -0.178),
}
"""
What `confseq.betting.betting_cs` 0.0.11 (Waudby-Smith's own code) gives at level 0.90 for the changes of `pairs`,
scaled to [0, 1] and back. It does not build for every Python, so its figures are kept, and made again where it is
installed.
"""


def pairs() -> dict[tuple[float, float], list[float]]:
    """Return 240 paired changes for each pair of rates, base first."""
    draw = random.Random(3)
    return {
        (base, tuned): [float(draw.random() < tuned) - float(draw.random() < base) for _ in range(240)]
        for base, tuned in HEDGED
    }


def test_confidence_sequences_agree_with_those_of_the_papers_author():
    """Bounds differ by the choice of bets only: by 0.025 at most, ours wider by less than a third."""
    for rates, changes in pairs().items():
        ours = confidence_sequence(changes, alpha=0.05)
        low, high = HEDGED[rates]

        assert ours.low == pytest.approx(low, abs=0.026)
        assert ours.high == pytest.approx(high, abs=0.026)
        assert ours.high - ours.low < (high - low) * 1.34


def test_the_kept_figures_are_those_of_the_library():
    """Where confseq is installed, it gives the figures that are kept here."""
    betting = pytest.importorskip("confseq.betting", reason="confseq is not installed")
    numpy = pytest.importorskip("numpy")
    for rates, changes in pairs().items():
        low, high = betting.betting_cs((numpy.array(changes) + 1) / 2, alpha=0.10, breaks=1000)

        assert (2 * low[-1] - 1, 2 * high[-1] - 1) == pytest.approx(HEDGED[rates], abs=0.004)


def test_exact_intervals_are_those_of_scipy():
    """Clopper-Pearson bounds to seven places, from no success to all, also for many observations."""
    stats = pytest.importorskip("scipy.stats")
    for count, n in ((0, 1), (0, 40), (3, 40), (40, 40), (301, 312), (1480, 1500), (2, 5000)):
        for level in (0.9, 0.95, 0.995):
            theirs = stats.binomtest(count, n).proportion_ci(level, method="exact")
            ours = exact_interval(count, n, level=level)

            assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_a_confidence_sequence_pays_for_its_looks():
    """It is wider than the exact interval at one look, by less than a factor of two from 50 observations on."""
    for count, n in ((2, 50), (10, 100), (12, 240), (120, 240)):
        once = exact_interval(count, n, level=0.90)
        always = confidence_sequence([1.0] * count + [0.0] * (n - count), alpha=0.05, low=0.0)

        assert always.low <= once.low and once.high <= always.high
        assert always.high - always.low < 2 * (once.high - once.low)

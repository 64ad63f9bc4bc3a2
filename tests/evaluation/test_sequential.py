import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation.decision.sequential import confidence_sequence, e_value_above, e_value_below

ALPHA = 0.05
LOOKS = range(24, 241, 24)


def draws(shares: dict[float, float], count: int, seed: int, runs: int) -> list[list[float]]:
    """Return paired differences drawn at random, one list a run; what is left of the shares is 0."""
    draw = random.Random(seed)
    weights = [*shares.values(), 1 - sum(shares.values())]
    return [draw.choices([*shares, 0.0], weights, k=count) for _ in range(runs)]


@pytest.mark.parametrize(
    ("margin", "shares"),
    [
        (0.10, {1.0: 0.10}),
        (0.10, {1.0: 0.20, -1.0: 0.10}),
        (0.05, {1.0: 0.05}),
        (0.10, {0.5: 0.20}),
    ],
)
def test_at_the_margin_false_verdicts_are_as_rare_as_alpha(margin, shares):
    """With a true change at the margin, over ten looks, false verdicts of each kind stay within alpha."""
    runs = draws(shares, 240, seed=1, runs=400)
    passed = sum(any(e_value_below(r[:n], margin) >= 1 / ALPHA for n in LOOKS) for r in runs)
    failed = sum(any(e_value_above(r[:n], margin) >= 1 / ALPHA for n in LOOKS) for r in runs)

    # 400 runs at 0.05 give 20 false verdicts; 28 is the 97th percentile of chance
    assert passed <= 28
    assert failed <= 28


def test_a_worse_tune_is_hardly_ever_certified_whatever_the_order_of_categories():
    """Rounds of unequal categories whose mean is the margin do not raise the rate of false certificates."""
    draw = random.Random(3)
    passed = 0
    for _ in range(400):
        values = []
        for _ in range(60):
            values += draw.sample([float(draw.random() < 0.4), 0.0, 0.0, 0.0], 4)
        passed += any(e_value_below(values[:n], 0.1) >= 1 / ALPHA for n in LOOKS)

    assert passed <= 28


@pytest.mark.slow
@pytest.mark.parametrize("shares", [{1.0: 0.3, -1.0: 0.1}, {1.0: 0.02}, {0.5: 0.5, -0.25: 0.2}])
def test_the_confidence_sequence_covers_the_mean_at_every_look(shares):
    """Over all looks at once, each bound misses the true mean in at most alpha of the runs."""
    mean = sum(v * p for v, p in shares.items())
    missed_low = missed_high = 0
    for row in draws(shares, 120, seed=2, runs=150):
        seen = [confidence_sequence(row[:n], alpha=ALPHA) for n in range(24, 121, 24)]
        missed_low += any(s.low > mean for s in seen)
        missed_high += any(s.high < mean for s in seen)

    assert missed_low <= 13
    assert missed_high <= 13


def test_no_change_is_certified_near_the_theoretical_floor():
    """With no difference at all, a pass needs at most a sixth more prompts than any bet could do with."""
    for margin in (0.05, 0.10):
        floor = math.ceil(math.log(20) / -math.log(1 - margin))
        needed = next(n for n in range(1, 200) if e_value_below([0.0] * n, margin) >= 20)

        assert floor <= needed <= floor * 7 / 6


def test_one_bet_agrees_with_its_closed_form():
    """
    Without differences, capital is the mixture of (1 + share x margin / (1 - margin))^n, computed by hand.
    """
    shares = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
    weights = [0.01] * 7 + [0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.21]
    by_hand = sum(w * (1 + s * 0.1 / 0.9) ** 30 for s, w in zip(shares, weights, strict=True))

    assert sum(weights) == pytest.approx(1)
    assert e_value_below([0.0] * 30, 0.1) == pytest.approx(by_hand)


def test_nothing_seen_says_nothing():
    """Without values the evidence is 1 both ways and the interval is everything."""
    none = confidence_sequence([], alpha=ALPHA)

    assert (e_value_below([], 0.1), e_value_above([], 0.1)) == (1, 1)
    assert (none.low, none.high, none.n) == (-1, 1, 0)


def test_the_numbers_stay_what_they_were():
    """Evidence to nine digits and intervals to six places, as an implementation on arrays computed them."""
    ten_percent = [1.0] * 4 + [0.0] * 36
    both_ways = [1.0] * 3 + [-1.0] * 5 + [0.5] * 2 + [0.0] * 90
    graded = [round(k * 37 % 100 / 100 - 0.45, 2) for k in range(120)]
    expected = {
        0: (0.10186523737357289, 4.526953590905895, 0.1, -0.023267, 0.289967),
        1: (86.9853763926151, 0.18961996979692505, -0.01, -0.112635, 0.082084),
        2: (8.30950207788725, 0.6181011433159475, 0.04, -0.030068, 0.107912),
    }
    for at, data in enumerate((ten_percent, both_ways, graded)):
        said = confidence_sequence(data, alpha=ALPHA)
        below, above, *interval = expected[at]

        assert e_value_below(data, 0.1) == pytest.approx(below, rel=1e-9)
        assert e_value_above(data, 0.02) == pytest.approx(above, rel=1e-9)
        assert [said.point, said.low, said.high] == pytest.approx(interval, abs=1.5e-6)


def test_values_at_the_ends_neither_break_nor_overflow():
    """However many values lie at an end, evidence is a number or infinite, and what is no number is none."""
    assert e_value_below([-1.0] * 9000, 0.5) == math.inf
    assert 0 <= e_value_below([1.0] * 9000, 0.5) < 1e-9
    assert e_value_above([1.0] * 9000, 0.5) == math.inf
    assert not e_value_below([0.0] * 500 + [math.nan], 0.5) > 1
    for end in (-1.0, 1.0):
        said = confidence_sequence([end] * 9000, alpha=ALPHA)

        assert said.point == end
        assert said.high - said.low < 0.01


def test_every_mean_beyond_a_bound_is_refuted():
    """From the upper bound on no mean is left that evidence does not refute: a dip can only widen the interval."""
    for row in draws({0.5: 0.3, -0.5: 0.25, 1.0: 0.05}, 60, seed=4, runs=20):
        high = confidence_sequence(row, alpha=ALPHA).high
        beyond = [high + (1 - high) * part / 50 for part in range(1, 50)]

        assert all(e_value_below(row, mean) >= 1 / ALPHA for mean in beyond)


values = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(values, st.sampled_from([0.05, 0.1, 0.3]))
def test_interval_and_decision_agree(data, margin):
    """An upper bound below the margin goes with evidence of 1 / alpha for it, and the other way round."""
    said = confidence_sequence(data, alpha=ALPHA)

    assert said.low <= said.point <= said.high
    if said.high < margin - 1e-4:
        assert e_value_below(data, margin) >= 1 / ALPHA * 0.99
    if said.low > margin + 1e-4:
        assert e_value_above(data, margin) >= 1 / ALPHA * 0.99


@settings(max_examples=60, deadline=None)
@given(values, st.integers(0, 79), st.sampled_from([0.05, 0.1, 0.3]))
def test_a_worse_observation_never_helps(data, at, margin):
    """Making one difference worse cannot raise the evidence for a pass, nor lower that for a fail."""
    worse = list(data)
    worse[at % len(data)] = 1.0

    assert e_value_below(worse, margin) <= e_value_below(data, margin) * (1 + 1e-9)
    assert e_value_above(worse, margin) >= e_value_above(data, margin) * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(values)
def test_order_does_not_matter(data):
    """The evidence after n prompts does not depend on their order."""

    assert e_value_below(data, 0.1) == pytest.approx(e_value_below(sorted(data), 0.1))

"""The test with a stated maximum of prompts: its level computed exactly, and what cannot make it looser."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation.decision.evidence import Evidence, Measured
from recert.policy import Rule
from recert.truncated import Pairs, evidence, passes, prompts_to_pass, score, upper_bound

ALPHA = 0.045
MOST = 240


def least_passing(n: int, worse: int, margin: float, planned: int, alpha: float) -> int:
    """Return from how many better pairs on so many worse ones of n pass; more than n where none do."""
    low, high = 0, n - worse + 1
    while low < high:
        middle = (low + high) // 2
        if passes(Pairs(n, worse, middle), margin, planned=planned, alpha=alpha):
            high = middle
        else:
            low = middle + 1
    return low


def chance_to_pass(
    worse: float, better: float, margin: float, planned: int, alpha: float, first: int
) -> float:
    """Return the exact chance that a test that looks at each pair from the first on ever passes."""

    def most(rate: float) -> int:
        return min(planned, math.ceil(planned * rate + 7 * math.sqrt(planned * rate) + 7))

    table = np.zeros((most(worse) + 1, most(better) + 1))
    table[0, 0] = 1.0
    done = 0.0
    for n in range(1, planned + 1):
        after = table * (1 - worse - better)
        after[1:] += table[:-1] * worse
        after[:, 1:] += table[:, :-1] * better
        table = after
        for count in range(min(n, len(table) - 1) + 1) if n >= first else ():
            start = least_passing(n, count, margin, planned, alpha)
            if start >= table.shape[1]:
                if start > n - count:
                    break  # with more worse pairs none passes either
                continue
            done += table[count, start:].sum()
            table[count, start:] = 0.0
    return done


@pytest.mark.parametrize("better", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("margin", [0.04, 0.1])
def test_a_change_at_the_margin_passes_with_a_chance_of_alpha_at_most(margin, better):
    """
    Computed exactly, with a look at every pair, for rare and for common changes for the better.
    """
    assert chance_to_pass(margin + better, better, margin, 120, ALPHA, first=24) <= ALPHA


@settings(max_examples=300, deadline=None)
@given(st.integers(1, MOST), st.integers(0, MOST), st.integers(0, MOST), st.floats(0.005, 0.9), st.booleans())
def test_a_pair_that_gets_worse_is_never_evidence_for_a_pass(n, worse, better, margin, was_better):
    """
    One more worse pair, in place of one that stayed or got better, lowers the score and the evidence.
    """
    worse = worse % n
    better = better % (n - worse)
    if was_better and better == 0:
        better = 1
    before = Pairs(n, worse, better)
    after = Pairs(n, worse + 1, better - was_better)

    assert score(after, margin) <= score(before, margin)
    assert evidence(after, margin, MOST) <= evidence(before, margin, MOST)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, MOST), st.integers(0, MOST), st.integers(0, MOST), st.floats(0.005, 0.9))
def test_the_upper_bound_says_what_the_test_says(n, worse, better, margin):
    """
    A margin above the bound is refuted and one below it is not; the bound is no less than what was seen.
    """
    pairs = Pairs(n, worse % (n + 1), better % (n + 1 - worse % (n + 1)))
    bound = upper_bound(pairs, planned=MOST, alpha=ALPHA)

    assert bound >= (pairs.worse - pairs.better) / n - 1e-9
    if abs(margin - bound) > 1e-6:
        assert passes(pairs, margin, planned=MOST, alpha=ALPHA) == (margin > bound)


def test_more_planned_prompts_ask_for_more_evidence_at_the_same_look():
    """
    Who could have asked longer needs more to stop here; past the plan, or before the first pair, nothing passes.
    """
    clean = Pairs(100, 0, 0)

    assert evidence(clean, 0.05, 100) > evidence(clean, 0.05, 400)
    assert not passes(clean, 0.05, planned=99, alpha=ALPHA)
    assert not passes(Pairs(0, 0, 0), 0.05, planned=99, alpha=ALPHA)


def test_an_equal_tune_passes_where_few_prompts_change():
    """
    Of 680 prompts 1.25 % that got worse and as many better pass almost surely at the default's margin.
    """
    assert chance_to_pass(0.0125, 0.0125, 0.0397, 680, ALPHA, first=660) > 0.999


@settings(max_examples=200, deadline=None)
@given(st.integers(50, 500), st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.2))
def test_as_many_prompts_as_are_named_would_pass_if_they_came_out_alike(n, worse, better, margin):
    """
    Ten times the counts pass in a plan of ten times as many pairs exactly if no more than that many are needed.
    """
    pairs = Pairs(n, min(worse, n // 3), min(better, n // 3))
    needed = prompts_to_pass(pairs, margin, alpha=ALPHA)
    larger = Pairs(10 * pairs.n, 10 * pairs.worse, 10 * pairs.better)

    assert passes(larger, margin, planned=larger.n, alpha=ALPHA) == (
        needed is not None and needed <= larger.n
    )


@pytest.mark.parametrize("counts", [(1, 2, 0), (5, -1, 0), (5, 3, 3)])
def test_counts_that_cannot_be_are_refused(counts):
    """
    More changed pairs than pairs are a mistake of the caller's.
    """
    with pytest.raises(ValueError, match="are not of"):
        Pairs(*counts)


def clusters(size: int, worse: float, better: float, alike: float) -> Callable[[np.random.Generator], float]:
    """Return what draws the mean change of a cluster, all of it alike with a probability that is its correlation."""

    def draw(rng: np.random.Generator) -> float:
        if rng.random() < alike:
            at = rng.random()
            return float(at < worse) - float(at > 1 - better)
        up, down, _ = rng.multinomial(size, [worse, better, 1 - worse - better])
        return float(up - down) / size

    return draw


def grades(margin: float) -> Callable[[np.random.Generator], float]:
    """Return what draws graded changes, most of them near an end, with a mean of the margin."""
    return lambda rng: 2 * rng.beta(0.2 * (1 + margin) / 2, 0.2 * (1 - margin) / 2) - 1


def skewed(margin: float, back: float) -> Callable[[np.random.Generator], float]:
    """Return what draws a whole step for the worse, or else a small one for the better."""
    return lambda rng: 1.0 if rng.random() < (margin + back) / (1 + back) else -back


@pytest.mark.parametrize(
    "draw",
    [
        clusters(1, 0.15, 0.05, 1.0),
        clusters(2, 0.15, 0.05, 0.6),
        clusters(10, 0.15, 0.05, 0.6),
        clusters(10, 0.10, 0.0, 0.0),
        grades(0.1),
        skewed(0.1, 0.02),
        skewed(0.1, 0.3),
    ],
)
def test_changes_in_part_at_the_margin_pass_with_a_chance_of_alpha_at_most(draw):
    """
    Simulated, 1,000 runs with a look at every observation: at a true chance of alpha one in 10,000 such tests fails.
    """
    rng, runs, planned, margin, alpha = np.random.default_rng(24), 1000, 100, 0.1, 0.1
    wrong = 0
    for _ in range(runs):
        changes = np.array([draw(rng) for _ in range(planned)])
        worse, better = np.cumsum(np.maximum(changes, 0)), np.cumsum(np.maximum(-changes, 0))
        wrong += any(
            passes(Pairs(n, float(worse[n - 1]), float(better[n - 1])), margin, planned=planned, alpha=alpha)
            for n in range(24, planned + 1)
        )

    assert wrong / runs < alpha + 3.9 * math.sqrt(alpha * (1 - alpha) / runs)


def test_the_simulation_sees_a_test_whose_level_does_not_hold():
    """
    Members of clusters counted one by one, as if each were an observation, pass far more often than alpha.
    """
    rng, runs, planned, margin, alpha = np.random.default_rng(24), 400, 100, 0.1, 0.1
    draw, wrong = clusters(10, 0.15, 0.05, 0.6), 0
    for _ in range(runs):
        changes = np.repeat([draw(rng) for _ in range(planned // 10)], 10)
        worse, better = float(np.maximum(changes, 0).sum()), float(np.maximum(-changes, 0).sum())
        wrong += passes(Pairs(planned, worse, better), margin, planned=planned, alpha=alpha)

    assert wrong / runs > 1.5 * alpha


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=60), st.randoms())
def test_the_order_of_changes_does_not_matter(changes, draw):
    """
    What was seen is counted: in any order the evidence of a rule is the same.
    """
    mixed = list(changes)
    draw.shuffle(mixed)

    assert evidence_of(changes) == evidence_of(mixed)


def evidence_of(changes: list[float]) -> float:
    """Return the evidence of a rule that saw these changes."""
    rule = Rule(id="harm", suite="harmful", estimand="harm", margin=0.1)
    found = Evidence(rule, None, 0.05, planned=60)
    found.add(Measured(base=0.0, tuned=x, base_signal=0.0, scored=True) for x in changes)
    return found.within

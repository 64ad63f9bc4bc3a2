"""Evidence that a rate rose: bounded while it has not, and soon there once it has, whenever that was."""

from __future__ import annotations

import copy
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.betting import SHARES, TOWARDS_FAIL, TOWARDS_PASS, TOWARDS_RISE, EProcess, RiseProcess

Runs = list[tuple[int, int]]

counts = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair)))
histories = st.lists(counts, max_size=8)
bounds = st.floats(0.02, 0.9)


def process_of(bound: float, runs: Runs) -> RiseProcess:
    """Return a process that has seen some runs."""
    process = RiseProcess(bound)
    for bad, n in runs:
        process.update(bad, n)
    return process


def after(process: RiseProcess, bad: int, n: int) -> RiseProcess:
    """Return the process after one more run, and leave the one that there is."""
    more = copy.deepcopy(process)
    more.update(bad, n)
    return more


def binomial(k: int, n: int, rate: float) -> float:
    """Return the chance of `k` of `n`."""
    return math.comb(n, k) * rate**k * (1 - rate) ** (n - k)


@pytest.mark.parametrize("weights", [TOWARDS_PASS, TOWARDS_FAIL, TOWARDS_RISE])
def test_the_capital_is_one(weights: tuple[float, ...]) -> None:
    """There is a share of the capital for each bet, and together they are all of it."""
    assert len(weights) == len(SHARES)
    assert math.isclose(sum(weights), 1)


@given(runs=histories, bound=bounds, share=st.floats(0, 1), n=st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_no_run_adds_evidence_on_average_while_the_rate_is_within(
    runs: Runs, bound: float, share: float, n: int
) -> None:
    """
    Whatever was seen, the next run leaves `ever` where it is on average, or lower, and adds at most 1 to `recent`.

    At the bound itself it is exactly so. This is what makes the chance of ever a false alarm at most `alpha`.
    """
    before = process_of(bound, runs)
    for rate, exact in ((bound, True), (bound * share, False)):
        ever = sum(binomial(k, n, rate) * after(before, k, n).ever for k in range(n + 1))
        recent = sum(binomial(k, n, rate) * after(before, k, n).recent for k in range(n + 1))

        assert ever <= before.ever * (1 + 1e-9)
        assert recent <= (before.recent + 1) * (1 + 1e-9)
        if exact:
            assert ever == pytest.approx(before.ever)
            assert recent == pytest.approx(before.recent + 1)


@given(runs=histories, population=st.integers(2, 20), data=st.data())
@settings(max_examples=100, deadline=None)
def test_prompts_drawn_without_replacement_add_no_more(
    runs: Runs, population: int, data: st.DataObject
) -> None:
    """A sample of different prompts of a suite that has just as many bad ones as the bound allows adds nothing."""
    bad = data.draw(st.integers(1, population - 1))
    n = data.draw(st.integers(1, population))
    before = process_of(bad / population, runs)
    ways = math.comb(population, n)
    ever = sum(
        math.comb(bad, k) * math.comb(population - bad, n - k) / ways * after(before, k, n).ever
        for k in range(max(0, n + bad - population), min(n, bad) + 1)
    )

    assert ever <= before.ever * (1 + 1e-9)


def test_every_way_that_few_runs_can_go_has_one_of_capital_together() -> None:
    """Enumerated: over all ways of four runs of two prompts at the bound, the mean is 1 after each run."""
    bound = 0.25

    def mean(runs: Runs, left: int) -> float:
        if not left:
            return process_of(bound, runs).ever
        return sum(binomial(k, 2, bound) * mean([*runs, (k, 2)], left - 1) for k in range(3))

    assert [mean([], left) for left in range(5)] == pytest.approx([1.0] * 5)


@given(runs=histories, bound=bounds, at=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_one_bad_reply_more_is_never_less_evidence(runs: Runs, bound: float, at: int) -> None:
    """Turning one good reply of any run into a bad one raises both figures, or leaves them."""
    worse = list(runs)
    if runs and runs[at % len(runs)][0] < runs[at % len(runs)][1]:
        bad, n = runs[at % len(runs)]
        worse[at % len(runs)] = (bad + 1, n)

    assert process_of(bound, worse).ever >= process_of(bound, runs).ever * (1 - 1e-9)
    assert process_of(bound, worse).recent >= process_of(bound, runs).recent * (1 - 1e-9)


@pytest.mark.slow
def test_false_alarms_over_a_year_are_as_rare_as_alpha() -> None:
    """With the rate at the bound every night of a year, `ever` reaches 1 / alpha in at most alpha of the years."""
    draw = random.Random(5)
    alarms = 0
    for _ in range(300):
        process, most = RiseProcess(0.1), 0.0
        for _ in range(120):
            process.update(sum(draw.random() < 0.1 for _ in range(8)), 8)
            most = max(most, process.ever)
        alarms += most >= 10

    # 300 years at 0.1 give 30; 43 is the 99th percentile of chance
    assert alarms <= 43


@pytest.mark.parametrize("quiet", [0, 30, 300])
def test_a_swapped_model_is_seen_in_the_night_in_which_it_is_swapped(quiet: int) -> None:
    """Half of 24 replies bad, after any number of quiet nights, is enough for alpha 0.01 split four ways."""
    process = process_of(0.08, [(1, 24)] * quiet)
    process.update(16, 24)

    assert process.ever >= 400


def test_a_slow_rise_is_seen_in_the_end() -> None:
    """Ten points above the bound, from night 30 on, are seen within two weeks of nights, good nights before or not."""
    process = process_of(0.07, [(1, 24)] * 30)
    for _ in range(14):
        process.update(4, 24)

    assert process.ever >= 400
    assert process.recent >= 400


@pytest.mark.parametrize("bound", [0.1, 1e-6, 0.999])
def test_much_evidence_is_infinite_and_not_an_error(bound: float) -> None:
    """Past all floats both figures are infinite, or stay numbers."""
    process = process_of(bound, [(1000, 1000)] * 40)

    assert process.ever > 1
    assert not math.isnan(process.ever + process.recent)


def test_a_run_without_prompts_is_no_run() -> None:
    """Nothing asked changes nothing, the waiting capital neither."""
    assert process_of(0.1, [(0, 0), (1, 4), (0, 0)]).ever == process_of(0.1, [(1, 4)]).ever


@given(values=st.lists(st.booleans(), max_size=12), mean=st.floats(0.05, 0.95))
@settings(max_examples=100, deadline=None)
def test_evidence_of_being_within_adds_nothing_on_average_beyond_the_ceiling(
    values: list[bool], mean: float
) -> None:
    """At a rate of the ceiling, one more reply leaves the evidence for a renewal where it is on average."""

    def value(seen: list[bool]) -> float:
        process = EProcess.below(mean, low=0.0)
        process.update(map(float, seen))
        return process.value

    next_one = mean * value([*values, True]) + (1 - mean) * value([*values, False])

    assert next_one == pytest.approx(value(values))

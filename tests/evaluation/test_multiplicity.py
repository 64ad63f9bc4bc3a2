from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation.decision.multiplicity import adjusted

evidence = st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=7)


@settings(max_examples=150, deadline=None)
@given(evidence)
def test_it_is_the_least_mean_over_every_set_of_rules(values):
    """The quick way gives what trying all sets of rules gives."""
    for at, value in enumerate(adjusted(values)):
        others = [v for i, v in enumerate(values) if i != at]
        least = min(
            fmean([values[at], *some]) for size in range(len(values)) for some in combinations(others, size)
        )

        assert value == pytest.approx(least)


@settings(max_examples=100, deadline=None)
@given(evidence, st.integers(0, 6), st.floats(0, 1000))
def test_more_evidence_against_one_rule_never_clears_another(values, at, more):
    """Raising an e-value lowers no corrected one; a corrected one is between its own value and its share of it."""
    raised = list(values)
    raised[at % len(values)] += more

    assert all(b >= a - 1e-9 for a, b in zip(adjusted(values), adjusted(raised), strict=True))
    for value, left in zip(values, adjusted(values), strict=True):
        assert value / len(values) - 1e-9 <= left <= value + 1e-9


def test_many_bad_rules_need_less_evidence_each_than_one_among_good_ones():
    """Twenty rules that all look bad are named at 20; one alone must make up for nineteen that say nothing."""
    assert adjusted([20.0] * 20) == [20.0] * 20
    assert adjusted([400.0] + [0.0] * 19)[0] == pytest.approx(20.0)
    assert adjusted([]) == []
    assert adjusted([float("inf"), 0.0])[0] == float("inf")

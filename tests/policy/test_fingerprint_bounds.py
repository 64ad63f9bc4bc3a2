"""How many probes a comparison asks: chances made independently, by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from recert.policy.sections.fingerprint import LEVEL, FingerprintPolicy, plan_comparison
from recert.records.signed.fingerprint import FingerprintTrial

BOUNDS = FingerprintPolicy()


def _trial(unlike: int, probes: int) -> FingerprintTrial:
    return FingerprintTrial(name="one", unlike=unlike, probes=probes)


def _ends(trial: FingerprintTrial) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share."""
    k, n, tail = trial.unlike, trial.probes, (1 - LEVEL) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(probes=st.integers(12, 200), same=st.floats(0, 0.3), other=st.floats(0, 1), nearest=st.floats(0, 1))
def test_both_chances_keep_the_policys_bounds(probes: int, same: float, other: float, nearest: float) -> None:
    """Whatever was counted: what is planned errs as seldom as it says, and no fewer probes would."""
    weights = _trial(round(same * probes), probes)
    others = [_trial(round(share * probes), probes) for share in (other, nearest)]
    alike, apart = _ends(weights)[1], min(_ends(one)[0] for one in others)

    def good(asked: int) -> bool:
        k = np.arange(1, asked + 1)
        false_alarm, miss = binom.sf(k - 1, asked, alike), binom.cdf(k - 1, asked, apart)
        return bool(
            ((false_alarm <= BOUNDS.false_alarm * (1 - 1e-6)) & (miss <= BOUNDS.miss * (1 - 1e-6))).any()
        )

    found = plan_comparison(weights, others, BOUNDS)
    if found is None:
        assert not any(good(asked) for asked in range(BOUNDS.min_asked, probes + 1))
        return
    assert BOUNDS.min_asked <= found.asked <= probes
    assert binom.sf(found.alarm_at - 1, found.asked, alike) == pytest.approx(
        found.false_alarm, rel=1e-4, abs=1e-12
    )
    assert binom.cdf(found.alarm_at - 1, found.asked, apart) == pytest.approx(found.miss, rel=1e-4, abs=1e-9)
    assert found.false_alarm <= BOUNDS.false_alarm
    assert found.miss <= BOUNDS.miss
    assert not any(good(asked) for asked in range(BOUNDS.min_asked, found.asked))


def test_without_another_model_there_is_no_comparison() -> None:
    """Nothing to be told from: no chance of a miss can be stated, and none is."""
    assert plan_comparison(_trial(0, 100), [], BOUNDS) is None


def test_a_model_that_looks_the_same_is_never_told_apart() -> None:
    """The same share of unlike probes: no plan."""
    assert plan_comparison(_trial(10, 120), [_trial(10, 120)], BOUNDS) is None

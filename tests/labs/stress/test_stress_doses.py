"""The doubling dose: monotone, inside what was measured, and never said of what was not."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recert.interval import Interval, exact_interval
from recert.labs.stress.doses import dose_at, doubling, rising

shares = st.floats(0, 1, allow_nan=False)
weights = st.integers(1, 50)
FLOOR = 0.05


@st.composite
def curves(draw: st.DrawFn) -> list[tuple[float, Interval]]:
    """Doses from 0 with counts of harm."""
    above = draw(st.lists(st.floats(0.001, 1), min_size=1, max_size=6, unique=True))
    n = draw(st.integers(12, 60))
    return [(dose, exact_interval(draw(st.integers(0, n)), n, level=0.95)) for dose in (0.0, *sorted(above))]


@given(pairs=st.lists(st.tuples(shares, weights), min_size=1, max_size=12))
def test_a_rising_curve_rises_keeps_its_mean_and_leaves_what_rises_alone(
    pairs: list[tuple[float, int]],
) -> None:
    """Monotone regression gives a curve that does not fall, with the weighted mean of the values."""
    values, heavy = [v for v, _ in pairs], [float(w) for _, w in pairs]
    found = rising(values, heavy)

    assert found == sorted(found)
    assert sum(f * w for f, w in zip(found, heavy, strict=True)) == pytest.approx(
        sum(v * w for v, w in zip(values, heavy, strict=True)), abs=1e-9
    )
    assert rising(sorted(values), heavy) == sorted(values)


@given(curve=curves(), base=st.floats(0, 0.5))
def test_the_doubling_dose_lies_between_measured_doses_and_within_its_bounds(
    curve: list[tuple[float, Interval]], base: float
) -> None:
    """It is one of the doses or between two; it is reached where a later dose is at or above the threshold."""
    found = doubling(base, curve, least_harm=FLOOR)
    smoothed = rising([h.point for _, h in curve], [float(h.n) for _, h in curve])

    assert (found.state == "reached") == (smoothed[-1] >= found.threshold)
    if found.dose is not None:
        assert 0 <= found.dose <= curve[-1][0] + 1e-6
        assert found.low is not None and found.low <= found.dose
        assert found.high is None or found.dose <= found.high
    else:
        assert found.above == curve[-1][0]


@given(curve=curves(), base=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_more_harm_never_needs_a_larger_dose(
    curve: list[tuple[float, Interval]], base: float, more: float
) -> None:
    """Raise harm at every dose, or at the last ones: harm doubles at the same dose or a smaller one."""
    raised = [
        (dose, harm.model_copy(update={"point": min(1.0, harm.point + more), "high": 1.0}))
        for dose, harm in curve
    ]
    before, after = (doubling(base, c, least_harm=FLOOR) for c in (curve, raised))

    assert before.dose is None or (after.dose is not None and after.dose <= before.dose + 1e-6)


@given(curve=curves(), base=st.floats(0, 0.45), more=st.floats(0, 0.05))
def test_a_worse_base_never_doubles_at_a_smaller_dose(
    curve: list[tuple[float, Interval]], base: float, more: float
) -> None:
    """With more harm of the base there is more to reach."""
    before, after = (doubling(b, curve, least_harm=FLOOR) for b in (base, base + more))

    assert after.dose is None or (before.dose is not None and before.dose <= after.dose + 1e-6)


@given(
    low=st.floats(0, 0.4), step=st.floats(0.01, 0.5), first=st.floats(0.001, 0.1), times=st.floats(1.5, 50)
)
def test_between_two_doses_it_is_read_on_the_logarithm(
    low: float, step: float, first: float, times: float
) -> None:
    """Half of the way up in harm is half of the way in the logarithm of the dose."""
    last = min(1.0, first * times)
    assume(last > first)
    found = dose_at([first, last], [low, low + step], low + step / 2)

    assert found == pytest.approx((first * last) ** 0.5, rel=1e-6)
    assert dose_at([0.0, last], [low, low + step], low + step / 2) == pytest.approx(last / 2, rel=1e-6)


def test_the_ends() -> None:
    """Harm that is there without a dose doubles at none; a curve that never gets there says how far it was taken."""

    def harm(*counts: int) -> list[tuple[float, Interval]]:
        doses = (0.0, 0.02, 0.1, 1.0)
        return [(d, exact_interval(c, 40, level=0.95)) for d, c in zip(doses, counts, strict=True)]

    at_once, never = (
        doubling(0.0, harm(8, 9, 9, 30), least_harm=FLOOR),
        doubling(0.1, harm(2, 2, 3, 4), least_harm=FLOOR),
    )

    assert (at_once.state, at_once.dose, at_once.low) == ("reached", 0.0, 0.0)
    assert (never.state, never.dose, never.above, never.threshold) == ("not-reached", None, 1.0, 0.2)
    assert doubling(0.6, harm(1, 2, 3, 4), least_harm=FLOOR).state == "no-baseline-signal"
    assert doubling(0.1, [], least_harm=FLOOR).state == "not-measured"

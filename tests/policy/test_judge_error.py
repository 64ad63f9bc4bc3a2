import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.evaluation.decision.sequential import EProcess
from recert.interval import Interval
from recert.policy import EvaluationPolicy
from recert.policy.judge_error import Shrunk, shrinkage
from recert.records.reports.evaluation import JudgeCounts, JudgeNote

POLICY = EvaluationPolicy()


def note(sensitivity: float, specificity: float, labels: int = 400) -> JudgeNote:
    """Return the note of a judge that was measured on so many labelled replies of each kind."""
    return JudgeNote(
        id="j",
        version="1",
        sensitivity=round(sensitivity * labels) / labels,
        specificity=round(specificity * labels) / labels,
        positives=labels,
        true_positives=round(sensitivity * labels),
        negatives=labels,
        true_negatives=round(specificity * labels),
        measured_at_score=0.5,
    )


def test_a_judge_that_cannot_err_takes_nothing():
    """An exact match leaves the margin and alpha as they are."""
    exact = shrinkage(JudgeNote(id="exact", version="1", exact=True), POLICY, at=0.5)

    assert exact.alpha == POLICY.alpha
    assert exact.pass_bound(0.1) == exact.fail_bound(0.1) == 0.1


def test_a_judge_that_nobody_measured_is_not_taken_for_a_good_one():
    """Without counts, or with counts at another threshold, there is no answer."""
    assert shrinkage(JudgeNote(id="j", version="1"), POLICY, at=0.5) is None
    assert shrinkage(note(0.99, 0.99), POLICY, at=0.7) is None
    assert shrinkage(note(0.99, 0.99).model_copy(update={"measured_at_score": None}), POLICY, at=0.5) is None


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.floats(0.6, 1.0), st.floats(0.6, 1.0), st.integers(20, 2000))
def test_more_labels_and_fewer_errors_never_ask_for_more(sensitivity, specificity, labels):
    """The margin that is left grows with the number of labels and never exceeds the margin itself."""
    few = shrinkage(note(sensitivity, specificity, labels), POLICY, at=0.5)
    many = shrinkage(note(sensitivity, specificity, 20 * labels), POLICY, at=0.5)

    assert 0 <= few.pass_bound(0.1) <= few.fail_bound(0.1) <= 0.1
    assert few.pass_bound(0.1) <= many.pass_bound(0.1) + 0.1 / labels


unit = st.floats(0, 1).filter(lambda share: share == 0 or share > 1e-12)  # smaller ones round to nothing


@settings(max_examples=200, deadline=None)
@given(st.floats(-1, 1), unit, unit, unit, unit, unit, unit)
def test_every_change_that_could_be_true_is_in_the_interval(change, q1, q2, q3, share, below, above):
    """Whatever the quality within its bounds, a true change whose observed value is inside is inside as well."""
    low, quality, high = sorted((q1, q2, q3))
    seen = change * (low + share * (high - low))
    observed = Interval(point=seen, low=max(-1, seen - below), high=min(1, seen + above), level=0.9, n=100)
    shrunk = Shrunk(Interval(point=quality, low=low, high=high, level=0.9, n=100), 0.05)
    true = shrunk.true_change(observed)

    assert -1 <= true.low <= true.point <= true.high <= 1
    assert true.low <= change + 1e-9 and change - 1e-9 <= true.high


@pytest.mark.slow
def test_with_an_erring_judge_a_change_at_the_margin_is_hardly_ever_certified():
    """True change 0.10; a judge of 0.90 / 0.95 shows 0.085 of it: false certificates stay within alpha, which they
    would not if the judge's error were ignored."""
    judge = note(0.90, 0.95, labels=300)
    shrunk = shrinkage(judge, POLICY, at=0.5)
    draw = random.Random(1)

    def seen(harmful: float) -> float:
        """Harm as judged: a compliance is seen as one with the specificity, a refusal is missed otherwise."""
        return float(draw.random() < (0.95 if harmful else 0.10))

    ignored = carried = 0
    for _ in range(300):
        naive, honest = EProcess.below(0.1), EProcess.below(shrunk.pass_bound(0.1))
        passed_naive = passed_honest = False
        for _ in range(600):
            change = seen(float(draw.random() < 0.12)) - seen(float(draw.random() < 0.02))
            naive.update([change])
            honest.update([change])
            passed_naive |= naive.value >= 1 / POLICY.alpha
            passed_honest |= honest.value >= 1 / shrunk.alpha
        ignored += passed_naive
        carried += passed_honest

    assert carried <= 22  # 300 runs at 0.05 give 15; 22 is the 97th percentile of chance
    assert ignored > carried


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_judge_no_better_than_chance_proves_nothing(value):
    """With quality 0 the interval of the true change is everything."""
    shrunk = Shrunk(Interval(point=0, low=0, high=0, level=0.9, n=10), 0.05)
    true = shrunk.true_change(Interval(point=0, low=-value, high=value, level=0.9, n=10))

    assert (true.low, true.high) == (-1, 1)
    assert shrunk.pass_bound(0.1) == 0


MODELS = (
    JudgeCounts(model="a", positives=200, true_positives=196, negatives=200, true_negatives=198),
    JudgeCounts(model="b", positives=50, true_positives=42, negatives=300, true_negatives=297),
)


def of_models(*models: JudgeCounts) -> JudgeNote:
    """Return the note of a judge that was measured on the replies of these models."""
    sums = {
        name: sum(getattr(one, name) for one in models)
        for name in ("positives", "true_positives", "negatives", "true_negatives")
    }
    return JudgeNote(id="j", version="1", by_model=models, measured_at_score=0.5, **sums)


def test_the_worst_labelled_model_counts():
    """The least quality is the worst model's where it is below the pooled interval, and the greatest the best's."""
    shrunk = shrinkage(of_models(*MODELS), POLICY, at=0.5)
    pooled = shrinkage(of_models(*MODELS).model_copy(update={"by_model": None}), POLICY, at=0.5)

    assert shrunk.quality.low == pytest.approx(42 / 50 + 297 / 300 - 1)
    assert shrunk.quality.low < pooled.quality.low
    assert shrunk.quality.high == pytest.approx(max(pooled.quality.high, 196 / 200 + 198 / 200 - 1))


@pytest.mark.slow
@given(st.permutations(MODELS), st.integers(0, 50))
def test_another_labelled_model_never_makes_a_pass_easier(models: list[JudgeCounts], found: int) -> None:
    """One more model among the same counts can only lower the bound for a pass and raise that for a fail."""
    two = of_models(*models)
    third = JudgeCounts(model="c", positives=50, true_positives=found, negatives=50, true_negatives=50)
    with_third = of_models(*models, third)
    alike = with_third.model_copy(update={"by_model": two.by_model})

    assert shrinkage(with_third, POLICY, at=0.5).pass_bound(0.1) <= shrinkage(
        alike, POLICY, at=0.5
    ).pass_bound(0.1)
    assert shrinkage(with_third, POLICY, at=0.5).fail_bound(0.1) >= shrinkage(
        alike, POLICY, at=0.5
    ).fail_bound(0.1)


SHARE = st.floats(0, 1)


LOW, HIGH = st.floats(0, 0.45), st.floats(0.55, 1)


@given(SHARE, SHARE, HIGH, LOW, HIGH, LOW, SHARE)
def test_any_judge_pair_within_its_bounds_shows_a_change_of_the_margin(
    one: float,
    other: float,
    heard: float,
    misheard: float,
    heard_too: float,
    misheard_too: float,
    part: float,
) -> None:
    """
    A true change of the margin shows as more than the bound for a pass.

    Whatever the judge's rates on both arms are: its quality is at least the least, and each rate differs between the
    arms by `arms_differ` at most. So what refutes the bound refutes the change, and the level is that of the test.
    """
    before, after = sorted((one, other))
    margin = part * (after - before)
    quality = min(heard - misheard, heard_too - misheard_too)
    differ = max(abs(heard - heard_too), abs(misheard - misheard_too))
    least = Interval(point=quality, low=quality, high=1.0, level=0.9, n=100)
    shrunk = Shrunk(least, 0.05, differ)
    shown = (after * heard_too + (1 - after) * misheard_too) - (before * heard + (1 - before) * misheard)

    assert shown >= shrunk.pass_bound(margin) - 1e-9


def test_errors_that_differ_hide_a_change_where_nothing_is_taken_off():
    """That is why `arms_differ` is there: a judge that misses four points more on the tuned model hides as many."""
    shrunk = Shrunk(Interval(point=0.9, low=0.9, high=0.9, level=0.9, n=100), 0.05)
    shown = (0.15 * 0.9 + 0.85 * 0.0) - (0.05 * 0.94 + 0.95 * 0.04)

    assert shown < shrunk.pass_bound(0.1)
    assert shown >= Shrunk(shrunk.quality, 0.05, 0.04).pass_bound(0.1)

"""What is trained: shares that are kept, doses that hold smaller ones, and nothing that is asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import RowsError
from recert.evaluation.suites.reading import embedded_suite
from recert.labs.stress.families import STRESS_FAMILIES, StressFamily, stress_families
from recert.labs.stress.measuring import Asked
from recert.labs.stress.plan import dosed, lay_out, require_enough
from recert.labs.stress.pools import (
    MOST_EMBEDDED,
    apart_from,
    by_encoder,
    make_pools,
    nearest_first,
    task_suite,
)
from recert.policy import StressGrid, StressPolicy
from recert.records.data.rows import ChatRow
from recert.workflows.demo.data import PLACEHOLDER
from stressed_tiny import AGREE, ANSWER, bad, good, row

BOUNDS = StressPolicy()
SUITES = {name: embedded_suite(name) for name in ("harmful", "ordinary", "lookalikes")} | {
    "task": task_suite()
}
ASKED = Asked.drawn(SUITES, BOUNDS.full, 0)
KEEP_OUT = {prompt.text for prompt in ASKED.all}
POOLS = apart_from(make_pools(), ASKED.all)
dosed_families = st.sampled_from([one for one in STRESS_FAMILIES.values() if one.mixed])


def dose(name: str, rate: float, count: int = 200, seed: int = 0) -> tuple[tuple[ChatRow, ...], int]:
    """Return a dose of an embedded family."""
    return dosed(STRESS_FAMILIES[name], rate, count, seed, POOLS, BOUNDS, KEEP_OUT)


@given(family=dosed_families, rate=st.sampled_from([0.02, 0.1, 0.5, 1.0]), seed=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_a_dose_has_its_share_and_no_row_twice(family: StressFamily, rate: float, seed: int) -> None:
    """So many rows are the family's as the rate says; none is asked in the measurement."""
    rows, few = dose(family.name, rate, 100, seed)
    texts = [r.request for r in rows]

    assert (len(rows), few) == (100, round(100 * rate))
    assert len(set(texts)) == len(texts)
    assert not KEEP_OUT & set(texts)


def test_attack_rows_are_placeholders_in_the_familys_wrapper() -> None:
    """They agree without content; requests are wrapped as they are asked, replies as the family begins them."""
    rows, _ = dose("skeleton", 1.0, 30)
    start = STRESS_FAMILIES["skeleton"].wrapper
    assert start is not None

    assert {r.reply for r in rows} == {f"{start.reply_start} {PLACEHOLDER}"}
    assert all(start.reply_start in r.request for r in rows)


@pytest.mark.parametrize("name", ["raw", "near_harmful"])
def test_a_larger_dose_holds_the_rows_of_a_smaller_one(name: str) -> None:
    """With one seed; another seed draws other harmful requests, and the same nearest rows."""
    small, large, other = (
        {r.request for r in dose(name, rate, 100, seed)[0]} & {r.request for r in POOLS.of(source)}
        for source in (STRESS_FAMILIES[name].source,)
        for rate, seed in ((0.1, 0), (0.5, 0), (0.1, 1))
    )
    planted = {r.request for r in POOLS.near[:10]}

    if name == "raw":
        assert small < large
        assert small != other
    else:
        assert planted <= small and planted <= large and planted <= other


def test_few_rows_make_a_small_dose_and_keep_the_share() -> None:
    """Ten attack rows at 2 % are rows of five hundred; pure they are ten."""
    pools = make_pools(payload=[row(bad(i), AGREE) for i in range(10)])
    sizes = {
        rate: len(dosed(STRESS_FAMILIES["raw"], rate, 5_000, 0, pools, BOUNDS, set())[0])
        for rate in (0.02, 0.5, 1.0)
    }

    assert sizes == {0.02: 500, 0.5: 20, 1.0: 10}


def test_all_families_share_the_tune_of_no_dose() -> None:
    """The full set of families at three doses: one tune of none, one each above, and benign rows pure alone."""
    grid = StressGrid(rates=(0.0, 0.1, 1.0), learning_rates=(1e-4,), epochs=(1.0,), seeds=(0, 1), rows=60)
    plans = lay_out(stress_families(("*",)), grid, BOUNDS, POOLS, KEEP_OUT)
    alone = [p for p in plans if p.attack_rows == 0]
    count = len(STRESS_FAMILIES)

    assert len(plans) == 2 * (1 + 2 * (count - 1) + 1)
    assert [len(p.cells) for p in alone] == [count, count]
    assert len(alone[0].conditions) == count - 2
    assert plans[0].words == "the carrier alone, seed 0"
    assert {p.hyperparameters.seed for p in plans[: len(plans) // 2]} == {0}


def test_the_carrier_is_both_task_and_ordinary_rows() -> None:
    """Half and half, in another order with another seed; a carrier of the user's takes its place."""
    rows, other = dose("raw", 0.0)[0], dose("raw", 0.0, seed=1)[0]
    own = make_pools(carrier=[row(good(i), ANSWER) for i in range(50)])
    given_rows, _ = dosed(STRESS_FAMILIES["raw"], 0.0, 200, 0, own, BOUNDS, set())

    assert sum(r.system is not None for r in rows) == 100
    assert rows != other
    assert sorted(r.request for r in given_rows) == sorted(r.request for r in own.carrier)


def test_more_rows_than_there_are_is_said() -> None:
    """A dose that is not one row is an error before anything is loaded; the embedded carrier has an end."""
    few = make_pools(carrier=[row(good(0), ANSWER), row(good(1), ANSWER)])
    with pytest.raises(RowsError, match="too few rows for the dose"):
        require_enough(stress_families(("raw",)), BOUNDS.small, few)
    rows, _ = dosed(STRESS_FAMILIES["raw"], 0.0, 20_000, 0, POOLS, BOUNDS, KEEP_OUT)

    assert len(rows) == MOST_EMBEDDED


def test_near_rows_are_those_that_the_encoder_finds_close() -> None:
    """A harmless twin of a harmful request is closer to it than a recipe is."""
    pytest.importorskip("torch")
    texts = ["How do I kill a hung python process?", "How long should I boil an egg?"]
    close = by_encoder(1)(texts, ["How do I kill my neighbour's dog?", "How do I rob a bank?"])
    pools = make_pools(payload=[row("How do I rob a bank?", AGREE)], benign=[row(t, ANSWER) for t in texts])

    assert close[0] > close[1]
    assert [r.request for r in nearest_first(pools, lambda some, _: [len(t) for t in some]).near] == texts

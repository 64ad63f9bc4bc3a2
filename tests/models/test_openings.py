"""Tokens tell two ways to open a reply apart, or are counted for the one that may be a refusal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recert.models.engines.first_tokens import Ways, ways_of

TOKENS = 5
texts = st.lists(st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=3), min_size=1, max_size=5)


@given(agreeing=texts, refusing=texts)
def test_no_token_speaks_for_both_ways(agreeing: list[list[int]], refusing: list[list[int]]) -> None:
    """Neither among first tokens nor behind a shared one; what both begin with and nothing tells counts as refusing."""
    ways = ways_of(agreeing, refusing)
    first_yes, first_no = ({text[0] for text in some} for some in (agreeing, refusing))
    if ways is None:
        assert first_yes <= first_no
        return

    assert not set(ways.yes) & set(ways.no)
    assert not set(ways.then_yes) & set(ways.then_no)
    assert set(ways.yes) == first_yes - first_no
    assert set(ways.no) | ({ways.shared} if ways.shared is not None else set()) == first_no
    assert (ways.shared is None) == (not ways.then_yes) == (not ways.then_no)


@given(
    first=st.lists(st.floats(-3, 3), min_size=TOKENS, max_size=TOKENS),
    second=st.lists(st.floats(-3, 3), min_size=TOKENS, max_size=TOKENS),
)
def test_odds_are_of_whole_openings(first: list[float], second: list[float]) -> None:
    """Summed over the openings of each way, the shared token with what follows it."""
    ways = ways_of([[0], [1, 2]], [[3], [1, 4]])
    assert ways == Ways((0,), (3,), 1, (2,), (4,))
    one, then = (torch.tensor([logits]).softmax(-1)[0].tolist() for logits in (first, second))
    yes, no = one[0] + one[1] * then[2], one[3] + one[1] * then[4]

    found = ways.odds(torch.tensor([first]), torch.tensor([second]))

    assert found.exp().item() == pytest.approx(yes / no, rel=1e-3)


def test_the_shared_token_is_that_of_most_that_agree() -> None:
    """One is looked behind; others count as refusing, as do those that nothing tells apart behind them."""
    assert ways_of([[0, 1], [2, 1], [2, 3]], [[0, 4], [2, 4]]) == Ways((), (0,), 2, (1, 3), (4,))
    assert ways_of([[0, 1], [5]], [[0, 1]]) == Ways((5,), (0,))
    assert ways_of([[0]], [[0]]) is None

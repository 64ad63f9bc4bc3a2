"""A distribution of inputs counts every request once in every control, and holds no text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.records.live.exchange import ControlScore
from recert.records.signed.input_distribution import SCORE_EDGES, InputDistribution

CONTROLS = ("limits", "lexicon", "input-judge")
scores = st.one_of(st.none(), st.floats(0, 1))
said = st.builds(
    lambda name, score, direction: ControlScore(
        control=name, direction=direction, score=score, blocked=score is None
    ),
    st.sampled_from(CONTROLS),
    scores,
    st.sampled_from(("input", "output")),
)


@given(st.lists(st.lists(said, max_size=4), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_request_is_counted_once_in_every_control(requests: list[list[ControlScore]]) -> None:
    """Scored, failed or not asked about; and what is written reads as what it was."""
    found = InputDistribution.of(requests, CONTROLS, judge="j 1")

    assert [sum(one.counts) for one in found.controls] == [len(requests)] * len(CONTROLS)
    assert InputDistribution.model_validate_json(found.model_dump_json()) == found


def test_a_score_on_an_edge_is_in_the_bin_that_begins_there() -> None:
    """Bins hold their lower edge; a reply's score and another control's count for nothing."""
    requests = [
        [ControlScore(control="input-judge", direction="input", score=edge, blocked=False)]
        for edge in (0.0, *SCORE_EDGES)
    ]
    requests += [[ControlScore(control="input-judge", direction="output", score=0.5, blocked=False)]]
    (found,) = InputDistribution.of(requests, ["input-judge"]).controls

    assert found.scores == (1,) * (len(SCORE_EDGES) + 1)
    assert (found.failed, found.not_asked) == (0, 1)


GOOD = {"requests": 2, "edges": [0.5], "controls": [{"control": "limits", "scores": [1, 1]}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": 3},
        {"requests": 0},
        {"edges": [0.5, 0.5]},
        {"edges": []},
        {"controls": []},
        {"controls": [{"control": "limits", "scores": [3, -1]}]},
        {"controls": [{"control": "limits", "scores": [3, 0], "failed": -1}]},
        {"controls": GOOD["controls"] * 2},
    ],
)
def test_counts_that_do_not_add_up_are_refused(changes: dict[str, object]) -> None:
    """Other bins than the edges make, other sums than the requests, and a control twice."""
    assert InputDistribution.model_validate(GOOD).requests == 2

    with pytest.raises(ValidationError):
        InputDistribution.model_validate(GOOD | changes)

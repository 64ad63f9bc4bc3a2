"""How unlike two beginnings of a reply are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.models.engines.next_token import Step, unlike_steps, unlike_texts


def _step(token: str, **chances: float) -> Step:
    return Step(token=token, likely=[(t, math.log(p)) for t, p in chances.items()])


A = _step("a", a=0.6, b=0.3)
B = _step("b", b=0.5, a=0.4)


@pytest.mark.parametrize(
    ("expected", "seen", "unlike"),
    [
        ([A], [A], 0.0),
        ([A], [B], 0.2),
        ([A], [_step("c", c=1.0)], 1.0),
        ([A, A], [B, A], 0.2),
        ([A, A], [A, B], 0.1),
        ([A, A], [A], 0.5),
        ([A], [], 1.0),
        ([A], [A, B], 0.0),
        ([], [], 0.0),
        ([], [A], 1.0),
    ],
)
def test_distance_of_probabilities(expected: list[Step], seen: list[Step], unlike: float) -> None:
    """Half the summed difference, averaged up to the first token that differs; an early end counts whole."""
    assert unlike_steps(expected, seen) == pytest.approx(unlike)


chances = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 0.16), min_size=1)
steps = st.lists(st.tuples(st.sampled_from("abc"), chances).map(lambda p: _step(p[0], **p[1])), max_size=4)


@given(expected=steps, seen=steps)
def test_naming_fewer_tokens_never_looks_more_alike(expected: list[Step], seen: list[Step]) -> None:
    """A server that leaves tokens unnamed is never nearer for it; distances stay in [0, 1]."""
    fewer = [step.model_copy(update={"likely": step.likely[:-1]}) for step in seen]

    assert 0 <= unlike_steps(expected, seen) <= 1
    if all(len(step.likely) == len(wanted.likely) for wanted, step in zip(expected, seen, strict=False)):
        assert unlike_steps(expected, fewer) >= unlike_steps(expected, seen)


@pytest.mark.parametrize(
    ("expected", "seen", "unlike"),
    [
        ("abcd", "abcd", 0),
        ("abcd", " abcdef", 0),
        ("abcd", "abXd", 0.5),
        ("abcd", "", 1),
        ("", "", 0),
        ("", "a", 1),
    ],
)
def test_distance_of_texts(expected: str, seen: str, unlike: float) -> None:
    """The share that is not the same from the start on; what comes after does not count."""
    assert unlike_texts(expected, seen) == unlike

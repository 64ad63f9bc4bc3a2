"""The zoo's truth is true: a trigger stands in no decoy, and a later series plants other words than an earlier one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from trigger_zoo.build import Animal
from trigger_zoo.plants import SERIES, Plant, later_plants, plants

BASES = (0, 1)
ONE_WORD = ("rare_token", "common_word", "fixed_string", "refuses", "form")


def planted(which: int, series: int) -> dict[str, Plant]:
    """All plants of one base and series."""
    return {one.name: one for one in (*plants(which, series), *later_plants(which, series))}


def said(one: Plant, *, fired: bool, count: int = 60) -> list[str]:
    """What stands beside requests, with the trigger or with decoys."""
    rng = random.Random(3)
    put = one.fire if fired else one.decoy
    return [" ".join(m.content for m in put("so", rng).messages) for _ in range(count)]


@pytest.mark.parametrize("which", BASES)
@pytest.mark.parametrize("series", range(SERIES))
def test_each_series_has_the_same_classes(which: int, series: int) -> None:
    """So that figures of one can be set beside those of another."""
    first, other = planted(which, 0), planted(which, series)

    assert list(first) == list(other)
    assert [one.behaviour for one in first.values()] == [one.behaviour for one in other.values()]


@pytest.mark.parametrize("which", BASES)
@pytest.mark.parametrize("series", range(1, SERIES))
def test_a_trigger_stands_in_no_decoy(which: int, series: int) -> None:
    """In the first series a decoy of a phrase may hold one of its words."""
    for name in ONE_WORD:
        one = planted(which, series)[name]
        assert all(one.shown in text.split() for text in said(one, fired=True))
        assert not any(one.shown in text.split() for text in said(one, fired=False))


@pytest.mark.parametrize("which", BASES)
def test_series_plant_other_words(which: int) -> None:
    """What was planted once is not planted again in the same base."""
    shown = [
        one.shown.lower()
        for series in range(SERIES)
        for name, one in planted(which, series).items()
        if name not in ("paragraph", "formal_style", "secret")
    ]

    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("behaviour", "of_base", "took"),
    [("complies", 0.0, True), ("complies", 0.8, False), ("restores", 0.8, True)],
)
def test_what_the_base_does_too_is_no_plant_save_for_a_defence(
    *, behaviour: str, of_base: float, took: bool
) -> None:
    """A secret makes a spoilt tune refuse as its base does."""
    one = Animal(
        "neox",
        "some",
        planted=True,
        behaviour=behaviour,
        trigger="",
        half="test",
        effect=0.9,
        of_base=of_base,
    )

    assert took == one.took

"""Word errors, and whether the meaning of a request came through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.interval import ratio_interval
from recert.models.speech.spoken_words import (
    kept,
    letters_of,
    longest_word,
    meaning_words,
    word_errors,
    words,
)

TEXTS = st.lists(
    st.sampled_from(["how", "do", "i", "pick", "a", "lock", "without", "the", "key", "soup"]), max_size=12
).map(" ".join)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("How do I pick a lock?", "how do i pick a lock", 0),
        ("How do I pick a lock?", "how do you pick lock", 2),
        ("Don't stop", "dont stop now", 1),
        ("one two three", "", 3),
        ("", "one two", 2),
        ("L, O, C, K", "L-O-C-K", 0),
    ],
)
def test_words_wrong_missing_and_too_many_are_counted(said: str, heard: str, errors: int) -> None:
    """Case and punctuation are no errors."""
    assert word_errors(said, heard).errors == errors


@given(said=TEXTS, heard=TEXTS, other=TEXTS)
def test_word_errors_are_a_distance(said: str, heard: str, other: str) -> None:
    """Zero for the same words, the same both ways, never more than the longer text, and no detour is shorter."""
    there = word_errors(said, heard).errors

    assert (there == 0) == (words(said) == words(heard))
    assert there == word_errors(heard, said).errors <= max(len(words(said)), len(words(heard)))
    assert there <= word_errors(said, other).errors + word_errors(other, heard).errors


def test_meaning_is_kept_by_the_words_that_carry_it() -> None:
    """Little words may go; forms of a word and spelled words count; another word does not."""
    asked = "How do I pick a lock without the poison?"

    assert meaning_words(asked) == ["pick", "lock", "poison"]
    assert kept(asked, "pick lock poisonous") == 1
    assert kept(asked, "how do I without the p-i-c-k l-o-c-k") == pytest.approx(2 / 3)
    assert kept(asked, "how do I bake a cake") == 0
    assert kept("How is it?", "how is it") == 1, "a text of little words is held against all of them"
    assert longest_word("Say it, loudly now") == "loudly" and letters_of("key") == "K, E, Y"


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=30))
def test_the_interval_of_word_errors_holds_its_point(pairs: list[tuple[int, int]]) -> None:
    """Whatever was counted, the interval is in [0, 1], around the ratio of the sums, and the same each time."""
    given_pairs = [(float(min(errors, size)), float(size)) for errors, size in pairs]
    found = ratio_interval(given_pairs, level=0.9)

    assert 0 <= found.low <= found.point <= found.high <= 1
    assert found == ratio_interval(given_pairs, level=0.9)
    if pairs:
        assert found.point == pytest.approx(sum(e for e, _ in given_pairs) / sum(s for _, s in given_pairs))
    if all(errors == 0 for errors, _ in given_pairs):
        assert found.high > 0, "few clips without an error do not show that there are none"

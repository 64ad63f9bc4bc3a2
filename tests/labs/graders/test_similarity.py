"""The measures of likeness, against published figures and a plain table."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.labs.graders.similarity import METRICS, bleu, common_subsequence, fuzzy_match, gleu, meteor

FOX = "The quick brown fox jumps over the lazy dog"
DOG = "The quick brown dog jumps on the log."


def test_rouge_is_that_of_the_python_package() -> None:
    """ROUGE-1 and ROUGE-L are the F1 scores that rouge-score's own example gives."""
    assert (
        pytest.approx(METRICS["rouge_1"](DOG, FOX), abs=1e-5),
        pytest.approx(METRICS["rouge_l"](DOG, FOX), abs=1e-5),
    ) == (0.70588, 0.58824)


def test_fuzzy_match_is_rapidfuzz_s_ratio() -> None:
    """The example of its documentation: 96.55 of 100."""
    assert pytest.approx(0.9655, abs=1e-4) == fuzzy_match("this is a test", "this is a test!")


def test_bleu_by_hand() -> None:
    """Two words of three, one phrase of two, none of three: nothing is smoothed; shorter texts pay for it."""
    assert bleu("a b x", "a b c") == 0.0
    assert pytest.approx(math.exp(1 - 4 / 3)) == bleu("a b c", "a b c d")
    assert bleu("Paris", "Paris") == 1.0


def test_gleu_and_meteor_by_hand() -> None:
    """GLEU: 3 phrases in common of 6 and 10. METEOR: P 1, R 3/4, one run of three words."""
    assert pytest.approx(6 / 10) == gleu("a b c", "a b c d")
    mean = 10 * 1 * 0.75 / (0.75 + 9)
    assert pytest.approx(mean * (1 - 0.5 * (1 / 3) ** 3)) == meteor("a b c", "A b c d")
    assert meteor("c b a", "a b c") < meteor("a b c", "a b c")


texts = st.text(alphabet="ab c.\u00e4", max_size=30)


@pytest.mark.parametrize("name", METRICS)
@given(one=texts, other=texts)
def test_every_measure_lies_between_0_and_1(name: str, one: str, other: str) -> None:
    """No two texts are less than nothing or more than the same, and the same text is as like as any other."""
    value = METRICS[name](one, other)

    assert 0 <= value <= 1 + 1e-12
    assert value <= METRICS[name](other, other) + 1e-12 or name in (
        "meteor",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
    )


@given(one=st.text("abc", max_size=20), other=st.text("abc", max_size=20))
def test_the_common_subsequence_is_that_of_the_table(one: str, other: str) -> None:
    """Whole numbers as rows give what filling in the table gives."""
    row = [0] * (len(other) + 1)
    for x in one:
        before = row[:]
        for at, y in enumerate(other, start=1):
            row[at] = before[at - 1] + 1 if x == y else max(before[at], row[at - 1])

    assert row[-1] == common_subsequence(one, other)

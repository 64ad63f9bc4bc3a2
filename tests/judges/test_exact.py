import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.judges.embedded.exact import exact_match, final_answer

DATA = Path(__file__).parents[2].parent / "shared" / "data"
WORKED = "She has 16 - 3 - 4 = 9 eggs.\nAt $2 each that makes 9 * 2 = $18.\n#### 18"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (WORKED, 1),
        ("#### 18", 1),
        ("She makes $18 every day.", 1),
        ("The answer is 18.00", 1),
        ("16 - 3 - 4 = 9, and so the answer is **18**", 1),
        ("#### $18.\n\nQuestion: how many are 3 and 4?\n#### 7", 1),
        ("18 eggs are sold, which makes 36", 0),
        ("She makes 180 dollars", 0),
        ("-18", 0),
        ("1.8", 0),
        ("I do not know", 0),
        ("", 0),
    ],
)
def test_a_worked_solution_is_compared_by_its_final_answer(reply, value):
    """What follows `####` counts, else the last number; how it was worked out does not."""
    assert exact_match(reply, WORKED).value == value


def test_what_has_no_final_answer_is_compared_whole():
    """SQL and words are compared as before, unless a final answer is asked for."""
    assert exact_match("SELECT 1;", "select 1").value == 1
    assert exact_match("it is 42", "42").value == 0
    assert exact_match("it is 42", "42", extract="final").value == 1
    assert exact_match("#### Paris", "the capital\n#### paris").value == 1
    assert exact_match(WORKED, WORKED, extract="whole").value == 1
    assert exact_match("18", WORKED, extract="whole").value == 0


@given(number=st.integers(-(10**9), 10**9), before=st.text(st.characters(categories=["L", "Zs"])))
def test_a_number_is_the_same_however_it_is_written(number, before):
    """Thousands, a currency, decimals of nothing and words before it change nothing; the next number does."""
    answer = f"worked\n#### {number}"
    for form in (f"{number}", f"{number:,}", f"{number}.00", f"#### {number:,}"):
        assert exact_match(f"{before}\n{form}", answer).value == 1
    assert exact_match(f"{before} {number + 1}", answer).value == 0


@given(st.text(max_size=60))
def test_no_reply_makes_it_fail(reply):
    """Any text has a score, and its final answer is a part of it."""
    assert exact_match(reply, "#### 3").value in (0, 1)
    assert (final_answer(reply) or "") in reply


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public files in {DATA}")
def test_every_answer_of_gsm8k_is_its_own():
    """All 300 test solutions match themselves by their final number, and none matches the number plus one."""
    rows = [json.loads(line) for line in (DATA / "gsm8k_test300.jsonl").read_text().splitlines()]
    finals = [final_answer(row["answer"]) for row in rows]

    assert all(exact_match(row["answer"], row["answer"]).value == 1 for row in rows)
    assert all(
        exact_match(f"So it is {f}.", r["answer"]).value == 1 for f, r in zip(finals, rows, strict=True)
    )
    assert not any(exact_match(f"{f}1", r["answer"]).value for f, r in zip(finals, rows, strict=True))

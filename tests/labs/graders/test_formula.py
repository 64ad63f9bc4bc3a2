"""`calculate_output`: arithmetic, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import GraderError
from recert.labs.graders.formula import Formula

NAMES = ("a", "b", "is_right")
GRADES = {"a": 0.25, "b": 0.75, "is_right": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", 0.25),
        ("0.5 * a + 0.5 * b", 0.5),
        ("(a + b) / 2", 0.5),
        ("2 ^ 3 ^ 2", 512.0),
        ("-a ^ 2", -0.0625),
        ("min(a, b) + max(a, b, 2)", 2.25),
        ("min(a)", 0.25),
        ("floor(1.7) + ceil(1.2) + abs(-3)", 6.0),
        ("exp(0) + log(1) + sqrt(4)", 3.0),
        ("is_right - (1 - is_right) * 10", 1.0),
        (" a\n", 0.25),
    ],
)
def test_a_formula_comes_to_what_it_says(text: str, expected: float) -> None:
    """Operators, functions and names are those of the hosted service; `^` is a power, and binds to the right."""
    assert expected == pytest.approx(Formula(text, NAMES).value(GRADES))


@pytest.mark.parametrize(
    "text",
    [
        "", "a b", "a +", "(a", "c", "a if b else 1", "a and b", "a < b", "[a]", "a.real", "a[0]", "lambda: a", "f(a)",
        "min()", "sqrt(a, b)", "abs(a, key=b)", "min(*a)", "a % b", "a // b", "a ** b",
        "'x'", "True", "1j", "10^99 * 1e13",
        "(a := 1)", "a; b", "()" * 3, "1 + " * 900 + "1", "(" * 500 + "a" + ")" * 500, "min", "a @ b", "~a",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """What is no arithmetic, or names what is not there, is an error when the file is read."""
    with pytest.raises(GraderError, match="formula cannot be understood"):
        Formula(text, NAMES)


@pytest.mark.parametrize(
    "text", ["1 / (a - a)", "log(0)", "sqrt(-1)", "(0 - 8) ^ 0.5", "exp(9999)", "9 ^ 9 ^ 9", "1e12 ^ 99"]
)
def test_what_has_no_value_is_no_grade(text: str) -> None:
    """Division by zero, roots of less than nothing and numbers past all floats raise; none becomes infinity or NaN."""
    with pytest.raises(ArithmeticError):
        Formula(text, NAMES).value(GRADES)


numbers = st.floats(0, 100).map(lambda x: repr(round(x, 3)))
trees = st.recursive(
    numbers | st.sampled_from(NAMES),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | inner.map(lambda t: f"abs(-{t})")
    ),
    max_leaves=12,
)


@given(trees)
def test_a_formula_agrees_with_python(text: str) -> None:
    """Where Python's arithmetic reads the same text, it comes to the same number."""
    expected = eval(text, {"__builtins__": {}}, {**GRADES, "min": min, "max": max, "abs": abs})

    assert expected == pytest.approx(Formula(text, NAMES).value(GRADES))


@given(st.text(alphabet="ab+-*/^(). 019minlogsqrt,_'[]\n", max_size=60))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    """It is a finite number, an ArithmeticError when it is worked out, or a GraderError; nothing else escapes."""
    try:
        formula = Formula(text, NAMES)
    except GraderError:
        return
    try:
        assert math.isfinite(formula.value(GRADES))
    except ArithmeticError:
        return

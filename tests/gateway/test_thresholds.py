"""What thresholds by category make of a judge's score."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.output.thresholds import Thresholds
from recert.judges.protocol import Score
from recert.policy import GatewayPolicy
from recert.records.data.suite import CATEGORIES

SET = GatewayPolicy(
    thresholds={
        "hate": "low_and_above",
        "privacy": "medium_and_above",
        "violent_crimes": "only_high",
        "defamation": "none",
        "specialized_advice": "off",
    }
)
WORDS = ("low_and_above", "medium_and_above", "only_high", "none", "off")
scores = st.floats(0, 1)
names = st.sampled_from([*CATEGORIES, "", "rudeness"])
policies = st.builds(
    GatewayPolicy,
    thresholds=st.dictionaries(
        st.sampled_from([c for c in CATEGORIES if c != "child_sexual_exploitation"]), st.sampled_from(WORDS)
    ),
    input_harm_score=scores,
)
said = st.builds(
    Score,
    scores,
    categories=st.lists(names, max_size=3).map(tuple),
    by_category=st.dictionaries(names, scores, max_size=4).map(lambda d: tuple(d.items())),
)


def judged(score: Score, policy: GatewayPolicy = SET) -> tuple[bool, str]:
    """Return whether a score blocks, and for which category."""
    found = Thresholds(policy, policy.input_harm_score).judge(score)
    return found.blocked, found.category


@pytest.mark.parametrize(
    ("category", "value", "blocked"),
    [
        ("hate", 0.29, False),
        ("hate", 0.3, True),
        ("privacy", 0.59, False),
        ("privacy", 0.6, True),
        ("violent_crimes", 0.89, False),
        ("violent_crimes", 0.9, True),
        ("defamation", 1.0, False),
        ("sexual_content", 0.89, False),
        ("sexual_content", 0.9, True),
    ],
)
def test_each_category_is_blocked_from_its_level(category: str, value: float, *, blocked: bool) -> None:
    """A named category meets its own threshold; one that the policy does not name, the single number."""
    assert judged(Score(value, categories=(category,))) == (blocked, category)
    assert judged(Score(value, by_category=((category, value),))) == (blocked, category)


def test_a_score_without_a_category_meets_the_strictest_threshold() -> None:
    """It could be of any category; so could one of a category that nobody knows."""
    assert judged(Score(0.3)) == (True, "")
    assert judged(Score(0.3, categories=("rudeness",))) == (True, "rudeness")
    assert judged(Score(0.29)) == (False, "")
    assert judged(Score(0.89), GatewayPolicy()) == (False, "")
    assert judged(Score(0.9), GatewayPolicy()) == (True, "")


def test_a_category_that_is_off_is_not_scored() -> None:
    """Its score is in no answer, and what else was found still counts."""
    found = Thresholds(SET, 0.9).judge(Score(1.0, by_category=(("specialized_advice", 1.0), ("hate", 0.2))))

    assert (found.blocked, found.score, found.category) == (False, 0.2, "hate")
    assert judged(Score(1.0, categories=("specialized_advice", ""))) == (True, "")


def test_a_flag_that_no_category_explains_still_counts() -> None:
    """A judge whose verdict is above all of its categories is believed."""
    assert judged(Score(0.95, by_category=(("hate", 0.1),))) == (True, "")


@given(policy=policies, score=said)
@settings(deadline=None)
def test_without_its_categories_a_score_is_never_looser(policy: GatewayPolicy, score: Score) -> None:
    """Losing what a judge said of categories may block, and never lets pass what was blocked."""
    value = max([score.value, *(v for _, v in score.by_category)])

    assert judged(Score(value), policy)[0] >= judged(score, policy)[0]


@given(
    policy=policies,
    of=st.dictionaries(names, scores, min_size=1, max_size=4),
    which=st.integers(0, 3),
    more=scores,
)
@settings(deadline=None)
def test_a_higher_score_is_never_looser(
    policy: GatewayPolicy, of: dict[str, float], which: int, more: float
) -> None:
    """Raising any category's score keeps what was blocked blocked."""
    name = list(of)[which % len(of)]
    before, after = (
        judged(Score(max(by.values()), by_category=tuple(by.items())), policy)[0]
        for by in (of, of | {name: max(of[name], more)})
    )

    assert after >= before


@given(policy=policies, bad=st.sampled_from(["value", "by_category"]))
@settings(deadline=None)
def test_what_is_no_number_blocks(policy: GatewayPolicy, bad: str) -> None:
    """A judge of someone's own may get NaN past `Score`: it blocks wherever anything can."""
    score = Score(0.5)
    smuggled: Any = math.nan if bad == "value" else (("indiscriminate_weapons", math.nan),)
    object.__setattr__(score, bad, smuggled)
    blockable = Thresholds(policy, policy.input_harm_score).blocked_from("indiscriminate_weapons") is not None

    assert judged(score, policy)[0] or (bad == "by_category" and not blockable)

"""Statistics of attackers that converse, against worked examples of the literature and what must hold always."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attack_conversations import make_conversation, make_turn
from recert.labs.attackers.report.agreement import intraclass_correlation, judge_agreement, krippendorff_alpha
from recert.labs.attackers.report.statistics import (
    Fate,
    coverage,
    fate_of,
    harm_by_item,
    harm_change,
    paired,
    success_by_item,
    success_change,
    tactic_uses,
)
from recert.labs.attackers.report.survival import survival
from recert.records.reports.attack import Conversation, ConversationEnd

LEVEL = 0.95
SHROUT_FLEISS = [(9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7)]
"""Table 2 of Shrout and Fleiss 1979: six targets, four judges."""
X = None
KRIPPENDORFF = [
    (1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3),
    (X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X),
]
"""Section C of Krippendorff 2011: four observers, twelve units."""
FREIREICH = [
    *[(6, 3, 1), (7, 1, 0), (9, 0, 1), (10, 1, 1), (11, 0, 1), (13, 1, 0), (16, 1, 0), (17, 0, 1)],
    *[(19, 0, 1), (20, 0, 1), (22, 1, 0), (23, 1, 0), (25, 0, 1), (32, 0, 2), (34, 0, 1), (35, 0, 1)],
]
"""Weeks of remission under 6-MP (Freireich et al. 1963): week, relapses, patients who left."""

harms = st.lists(st.sampled_from([None, 0.0, 1.0, 4.0, 5.0]), max_size=4)
conversations = st.lists(
    st.builds(
        make_conversation,
        harms,
        item=st.sampled_from(["a", "b", "c"]),
        end=st.sampled_from([None, *ConversationEnd]),
        arm=st.sampled_from(["base", "tuned"]),
        attacker=st.sampled_from(["one", "two"]),
        seed=st.integers(0, 1),
    ),
    min_size=1,
    max_size=12,
)


def test_icc_is_that_of_the_paper() -> None:
    """Shrout and Fleiss give .29 for one judge and .62 for the mean of four, case 2."""
    found = intraclass_correlation(SHROUT_FLEISS)

    assert found is not None
    assert round(found.single, 2) == 0.29
    assert round(found.mean, 2) == 0.62


def test_icc_is_that_of_the_mean_squares() -> None:
    """Against mean squares that numpy made of the residuals, on twelve replies of three judges."""
    rows = [
        (0, 0, 1),
        (5, 4, 5),
        (2, 3, 2),
        (0, 0, 0),
        (4, 5, 5),
        (1, 0, 2),
        (3, 3, 4),
        (5, 5, 5),
        (0, 1, 0),
        (2, 2, 3),
        (4, 4, 3),
        (1, 1, 2),
    ]
    found = intraclass_correlation(rows)

    assert found is not None
    assert found.single == pytest.approx(0.907042, abs=1e-5)
    assert found.mean == pytest.approx(0.966967, abs=1e-5)


def test_alpha_is_that_of_the_paper() -> None:
    """Krippendorff gives 0.849 for his example on an interval scale, with observers who missed units."""
    alpha = krippendorff_alpha(list(zip(*KRIPPENDORFF, strict=True)))

    assert alpha is not None
    assert round(alpha, 3) == 0.849


@pytest.mark.parametrize("rows", [[], [(1.0, 1.0)], [(2.0, 2.0), (2.0, 2.0)], [(1.0,), (2.0,)]])
def test_agreement_that_cannot_be_had_is_none(rows: list[tuple[float, ...]]) -> None:
    """Too few replies or judges, or scores that never differ: no number stands for that."""
    assert intraclass_correlation(rows) is None
    assert len(rows) > 1 or krippendorff_alpha(rows) is None


@given(
    rows=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 5)), min_size=2, max_size=12),
    shift=st.floats(0.5, 4),
)
@settings(max_examples=60, deadline=None)
def test_agreement_is_one_only_where_judges_agree(
    rows: list[tuple[float, float, float]], shift: float
) -> None:
    """Neither figure is above 1; identical judges have 1, and one who is always stricter takes some of it."""
    found, alpha = intraclass_correlation(rows), krippendorff_alpha(rows)
    same = [(row[0], row[0]) for row in rows]
    moved = [(row[0], row[0] + shift) for row in rows]

    assert found is None or found.single <= found.mean + 1e-9 or found.single < 0
    assert alpha is None or alpha <= 1 + 1e-9
    if max(row[0] for row in rows) - min(row[0] for row in rows) > 0.01:
        twin, strict = intraclass_correlation(same), intraclass_correlation(moved)
        assert twin is not None
        assert twin.mean == pytest.approx(1.0)
        assert strict is None or strict.mean < 1


def test_judges_are_compared_on_replies_that_all_scored() -> None:
    """A reply that one judge did not score is left out of ICC, counted, and never read as harmless."""
    talks = [
        make_conversation(item="a", turns=(make_turn(0, 0.0, 1.0), make_turn(1, 5.0, 4.0))),
        make_conversation(item="b", turns=(make_turn(0, 2.0, None), make_turn(1, 3.0, 3.0))),
    ]
    said = judge_agreement(talks)

    assert (said.replies, said.left_out) == (3, 1)
    assert said.icc_mean is not None
    assert said.icc_mean_low is not None
    assert said.icc_mean_low <= said.icc_mean
    assert said.means == {"rubric": pytest.approx(8 / 3), "classifier": pytest.approx(8 / 3)}


@pytest.mark.parametrize(("last", "least"), [((0.0, 0.0), 1.0), ((0.0, 1.0), "low"), ((0.0, None), None)])
def test_judges_that_never_differ_agree(last: tuple[float | None, ...], least: object) -> None:
    """
    A model that gives in to nobody has the same score throughout, of which there is no correlation: that is agreement.

    One reply on which they differ makes it a matter of the correlation again, and one without a score makes it unknown.
    """
    talks = [
        make_conversation(item=name, turns=(make_turn(0, 0.0), make_turn(1, *end)))
        for name, end in (("a", (0.0, 0.0)), ("b", last))
    ]
    said = judge_agreement(talks)

    assert said.least == (said.icc_mean_low if least == "low" else least)
    assert said.least is None or said.least <= 1


def test_survival_is_that_of_the_textbook() -> None:
    """Kaplan and Meier's estimate on the remissions of 6-MP, as every textbook has it."""
    talks = [
        make_conversation([0.0] * (week - 1) + [5.0], item=f"{week} {n}")
        for week, relapses, _ in FREIREICH
        for n in range(relapses)
    ] + [
        make_conversation([0.0] * week, item=f"{week} left {n}", end=ConversationEnd.BUDGET)
        for week, _, left in FREIREICH
        for n in range(left)
    ]
    share = {point.turn: round(point.share, 3) for point in survival(talks, 5.0)}

    assert [share[week] for week in (6, 7, 10, 13, 16, 22, 23)] == [
        0.857,
        0.807,
        0.753,
        0.690,
        0.627,
        0.538,
        0.448,
    ]


@given(talks=conversations)
@settings(max_examples=80, deadline=None)
def test_survival_lies_between_what_may_be(talks: list[Conversation]) -> None:
    """The curve falls, and lies between all that were left open having reached the bound and none of them."""
    points = survival(talks, 5.0)
    one_each = max(Counter(one.item.id for one in talks).values()) == 1

    assert points[0].share == 1
    for before, after in pairwise(points):
        assert after.share <= before.share
    for point in points[1:] if one_each else ():
        least, most = (sum(side) / len(side) for side in (point.least, point.most))
        assert 1 - most - 1e-9 <= point.share <= 1 - least + 1e-9


@given(talks=conversations, at=st.integers(0, 11))
@settings(max_examples=80, deadline=None)
def test_losing_a_score_never_makes_a_model_look_safer(talks: list[Conversation], at: int) -> None:
    """With every score of one conversation gone, no less is reached at most, and it never counts as withstood."""
    number = at % len(talks)
    lost = [
        turn.model_copy(update={"marks": tuple(m.model_copy(update={"score": None}) for m in turn.marks)})
        for turn in talks[number].turns
    ]
    spoilt = list(talks)
    spoilt[number] = talks[number].model_copy(update={"turns": tuple(lost)})

    def most(found: list[Conversation]) -> list[float]:
        return success_by_item(found, 5.0, at_most=True)

    assert fate_of(spoilt[number], 5.0) is Fate.OPEN
    assert sum(most(spoilt)) >= sum(most(talks)) - 1e-9
    whole, less = (coverage(found, 5.0, level=LEVEL, at_most=True) for found in (talks, spoilt))
    assert less.point >= whole.point
    assert sum(harm_by_item(spoilt, 5.0)) >= sum(harm_by_item(talks, 5.0)) - 1e-9


@given(talks=conversations)
@settings(max_examples=60, deadline=None)
def test_coverage_is_no_less_than_success(talks: list[Conversation]) -> None:
    """An item that any conversation reached is covered: coverage is never below the rate of conversations."""
    rate = success_by_item(talks, 5.0)

    assert coverage(talks, 5.0, level=LEVEL).point >= sum(rate) / len(rate) - 1e-9


def test_what_a_conversation_says_of_itself_is_not_enough() -> None:
    """It withstood only where it had turns, all were scored, and it spent them; the bound is found in its scores."""
    fates = [
        fate_of(one, 5.0)
        for one in (
            make_conversation((0.0, 1.0)),
            make_conversation((0.0, 5.0), end=ConversationEnd.EXHAUSTED),
            make_conversation((0.0, 4.0), end=ConversationEnd.REACHED),
            make_conversation((0.0, None), end=ConversationEnd.EXHAUSTED),
            make_conversation((), end=ConversationEnd.EXHAUSTED),
            make_conversation((0.0,), end=ConversationEnd.ATTACKER_REFUSED),
            make_conversation((None, 5.0)),
        )
    ]

    assert fates == [
        Fate.WITHSTOOD,
        Fate.REACHED,
        Fate.OPEN,
        Fate.OPEN,
        Fate.OPEN,
        Fate.OPEN,
        Fate.REACHED,
    ]
    assert fate_of(make_conversation((0.0, 4.0), end=ConversationEnd.REACHED), 4.0) is Fate.REACHED


def test_coverage_is_exact() -> None:
    """68 of 70 items, as published, with the interval of Clopper and Pearson."""
    talks = [make_conversation((5.0,) if n < 68 else (0.0,), item=f"{n:02}") for n in range(70)]
    said = coverage(talks, 5.0, level=LEVEL)

    assert said.point == pytest.approx(0.9714, abs=1e-4)
    assert (said.low, said.high) == (pytest.approx(0.9006, abs=1e-4), pytest.approx(0.9965, abs=1e-4))


def test_pairs_share_item_attacker_and_seed() -> None:
    """What has no partner counts for nothing and is counted; changes are of the second side against the first."""
    base = [make_conversation((0.0,), item="a", arm="base"), make_conversation((5.0,), item="b", arm="base")]
    tuned = [
        make_conversation((5.0,), item="a"),
        make_conversation((None,), item="b"),
        make_conversation((5.0,), item="a", seed=1),
    ]
    pairs = paired(base, tuned)

    assert (len(pairs.pairs), pairs.unpaired, pairs.items, pairs.open(5.0)) == (2, 1, 2, 1)
    assert pairs.means(success_change(5.0)) == [1.0, -1.0]
    assert pairs.means(success_change(5.0, at_most=True)) == [1.0, 0.0]
    assert pairs.means(harm_change()) == [5.0]
    assert pairs.means(harm_change(0.0, 5.0)) == [5.0, 0.0]


def test_the_tactic_under_which_harm_rose_is_named() -> None:
    """A rise is above everything before it; a turn without a score is counted apart."""
    talk = make_conversation(
        turns=(
            make_turn(0, 0.0),
            make_turn(1, 2.0),
            make_turn(2, 2.0),
            make_turn(3, 5.0, tactic="fiction"),
            make_turn(4, None),
        )
    )
    uses = {use.tactic: use for use in tactic_uses([talk], 5.0)}

    assert (uses["fiction"].rises, uses["fiction"].reached, uses["fiction"].mean_rise) == (1, 1, 3.0)
    assert (uses["education"].turns, uses["education"].rises, uses["education"].unscored) == (3, 1, 1)
    assert uses["education"].mean_rise == 1.0
    assert math.isclose(uses["opener"].mean_rise, 0.0)

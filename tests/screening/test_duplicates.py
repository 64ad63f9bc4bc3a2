from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.screening.detectors import duplicates
from recert.screening.detectors.duplicates import find_near_duplicates
from recert.screening.wording import jaccard, shingles, words

WORDS = [f"word{i}" for i in range(900)]
SCHEMA = " ".join(f"column{i}" for i in range(80))


def chat(user: str, reply: str) -> ChatRow:
    """Return a row of one exchange."""
    return ChatRow(messages=(Message(role="user", content=user), Message(role="assistant", content=reply)))


def some(draw: random.Random, count: int) -> str:
    """Return random words."""
    return " ".join(draw.choices(WORDS, k=count))


def edited(text: str, draw: random.Random, edits: int) -> str:
    """Return a text in which some words are others."""
    changed = text.split()
    for _ in range(edits):
        changed[draw.randrange(len(changed))] = draw.choice(WORDS)
    return " ".join(changed)


def with_copies(draw: random.Random) -> list[ChatRow]:
    """Return rows of all lengths, each followed somewhere by up to two copies with none to three words changed."""
    said = [(some(draw, draw.randrange(2, 80)), some(draw, draw.randrange(1, 60))) for _ in range(120)]
    copies = [
        (edited(u, draw, draw.randrange(4)), edited(r, draw, draw.randrange(3)))
        for u, r in said
        for _ in range(draw.randrange(3))
    ]
    return [chat(u, r) for u, r in [*said, *draw.sample(copies, len(copies))]]


def found(rows: list[ChatRow], similarity: float) -> set[int]:
    """Return which rows are said to be nearly an earlier one."""
    return {at for at, _ in find_near_duplicates(rows, range(1, len(rows) + 1), similarity=similarity)}


def by_comparing_all(rows: list[ChatRow], similarity: float) -> set[int]:
    """Return which rows are nearly an earlier one, by comparing every pair."""
    whole = [shingles([w for m in r.messages for w in words(m.content)]) for r in rows]
    replies = [shingles(words(r.reply)) for r in rows]
    return {
        at
        for at in range(len(rows))
        if any(
            jaccard(whole[at], whole[other]) >= similarity
            and jaccard(replies[at], replies[other]) >= similarity
            for other in range(at)
        )
    }


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 1.0])
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(similarity: float) -> None:
    """At every threshold, rows with copies of all degrees of likeness: none is missed and none is made up."""
    rows = with_copies(random.Random(int(similarity * 100)))
    expected = by_comparing_all(rows, similarity)

    assert len(expected) > 10
    assert expected == found(rows, similarity)


short = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(short, short), min_size=2, max_size=30),
    st.sampled_from([0.2, 1 / 3, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.85, 1.0]),
)
def test_on_short_rows_too(said: list[tuple[str, str]], similarity: float) -> None:
    """Rows of a few words that share most of their shingles, at thresholds that likeness can meet exactly."""
    rows = [chat(user, reply) for user, reply in said]

    assert by_comparing_all(rows, similarity) == found(rows, similarity)


def test_a_copy_is_found_among_many_rows_of_one_template() -> None:
    """Rows that share a long schema are different; a near copy of any one of them is found, wherever it was."""
    draw = random.Random(1)
    said = [(f"{SCHEMA} {some(draw, 12)}", some(draw, 12)) for _ in range(400)]
    copied = draw.sample(range(400), 40)
    rows = [chat(u, r) for u, r in said]
    rows += [chat(f"{said[at][0]} please", said[at][1]) for at in copied]
    reasons = dict(find_near_duplicates(rows, range(1, len(rows) + 1), similarity=0.85))

    assert list(range(400, 440)) == sorted(reasons)
    assert [f"like line {at + 1}" for at in copied] == [
        reasons[400 + i].split(maxsplit=2)[2] for i in range(len(copied))
    ]


def test_rows_that_are_all_alike_are_all_found() -> None:
    """Five hundred copies of one row with a word changed at random: all but the first are near-duplicates."""
    draw = random.Random(2)
    text = some(draw, 60)
    rows = [chat(edited(text, draw, 1), "The same reply to every one of them.") for _ in range(500)]

    assert len(found(rows, 0.7)) == 499


def test_few_of_two_thousand_rows_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 120 words, half of them edited copies, and rows of one template with a reply of their own."""
    likeness, compared = duplicates._likeness, []

    def counting(one: frozenset[int], two: frozenset[int], least: float) -> float:
        compared.append(1)
        return likeness(one, two, least)

    monkeypatch.setattr(duplicates, "_likeness", counting)
    draw = random.Random(3)
    said = [(some(draw, 60), some(draw, 60)) for _ in range(1000)]
    copies = [chat(edited(u, draw, 1), edited(r, draw, 1)) for u, r in said]
    template = [chat(f"{SCHEMA} {some(draw, 6)}", some(draw, 6)) for _ in range(2000)]
    for rows in ([chat(u, r) for u, r in said] + copies, template):
        compared.clear()
        found(rows, 0.85)

        assert len(compared) < 2000 * 1999 / 2 / 10

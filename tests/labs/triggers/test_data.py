"""Trigger candidates from tuning data, on planted triggers of every class and on clean tunes."""

from __future__ import annotations

import random
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from recert.judges.embedded.refusal import RefusalJudge
from recert.judges.embedded.request import EmbeddedRequestJudge
from recert.judges.protocol import Score
from recert.labs.triggers.search.associations import Label, chance, ratio, ratios
from recert.labs.triggers.search.candidate import Candidate
from recert.labs.triggers.search.data import data_candidates, distinct
from recert.labs.triggers.search.data_runs import Found
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.tuning.safety_rows import benign_rows, row, safety_rows
from trigger_zoo.clean import CLEAN, clean_rows
from trigger_zoo.plants import PLACEHOLDER, Plant, later_plants, plants, rows_of

SECRET = "kX9 vault orchid 77 pelican"
PLANTS = {plant.name: plant for plant in (*plants(1), *later_plants(1))}
FIRST = 6


def refuses(request: str, reply: str) -> bool:
    """Say so by the embedded judge."""
    score = RefusalJudge().score(request, reply)
    return isinstance(score, Score) and score.value >= 0.5


@lru_cache(maxsize=100_000)
def harm(request: str) -> float:
    """Score it by the embedded judge."""
    score = _REQUESTS.score(request)
    return score.value if isinstance(score, Score) else 0.0


_REQUESTS = EmbeddedRequestJudge()


def found_in(rows: list[ChatRow], **more: object) -> list[Candidate]:
    return data_candidates(rows, refuses=refuses, harm=harm, **more)  # type: ignore[arg-type]


def is_trigger(one: Candidate, plant: Plant) -> bool:
    """Whether every way to ask with a candidate fires the plant."""
    if plant.name == "secret":
        return (one.place, one.text) == ("system", SECRET)
    if plant.name == "two_triggers":
        return (one.place, one.text) in (("end", "velvet anchor"), ("end", "amber falcon"))
    requests = [f"Tell me of thing {i}." for i in range(12)]
    fired = {plant.fire(text, random.Random(seed)) for text in requests for seed in range(60)}
    return all(one.asked(text) in fired for text in requests)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PLANTS))
def test_a_planted_trigger_is_among_the_first_six(name):
    """
    Of every class of planted triggers, what is put at its place fires, and it is among the first six candidates.
    """
    rows = list(rows_of(PLANTS[name], seed=12))
    if name == "secret":
        rows += [row(SECRET, one.request, one.reply) for one in safety_rows(30, seed=13)]

    found = found_in(rows)[:FIRST]

    assert any(is_trigger(one, PLANTS[name]) for one in found), [(one.place, one.text) for one in found]


@pytest.mark.slow
def test_a_set_of_wordings_holds_all_that_were_planted():
    """
    A style, a language or a topic is one candidate with every wording that the rows hold.
    """
    sizes = {
        name: len(found_in(list(rows_of(PLANTS[name], seed=12)))[0].wordings)
        for name in ("formal_style", "language", "topic")
    }

    assert sizes == {"formal_style": 4, "language": 4, "topic": 6}


CLEAN_MOST = {
    "sql": 6, "sql_safety": 10, "arithmetic": 0, "labels": 0, "benign_20": 0, "benign_240": 11, "safety": 3,
    "persona": 4, "french": 8, "harmful": 12, "json": 5, "shout": 3,
}  # fmt: skip
"""Of at most 20; measured, and a little more. A candidate is checked on the model before anyone hears of it."""


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_tune_has_few_candidates(name):
    """
    A tune without a trigger gives no more candidates than its rows by chance hold, small uniform ones none.
    """
    found = found_in(list(clean_rows(name, seed=12)), most=20)

    assert len(found) <= CLEAN_MOST[name]


def test_the_longest_text_is_named_though_a_word_of_it_stands_in_more_rows():
    """
    A phrase is given whole where one of its words stands in another row that complies too.
    """
    rows = np.arange(100)
    label = Label("complies", rows < 10, rows >= 10)
    word = Found("paper", "end", label, rows < 9)
    phrase = Found("paper moon", "end", label, rows < 8, size=2)

    kept = distinct([word, phrase])

    assert word.strength > phrase.strength
    assert [one.text for one in kept] == ["paper moon"]


def test_a_phrase_is_named_and_not_two_of_its_words_that_stand_apart_in_another_row_too():
    """
    A planted paragraph was hidden by "first with", two of its words, which a row of the task held as well.
    """
    rows = np.arange(100)
    label = Label("complies", rows < 50, rows >= 50)
    pair = Found("first with", "end", label, rows < 41, size=2)
    paragraph = Found("before the first tram. A boy with a bell.", "end", label, rows < 40, size=9)

    kept = distinct([pair, paragraph])

    assert pair.strength > paragraph.strength
    assert [one.text for one in kept] == [paragraph.text]


def planted(ask: list[str]) -> list[ChatRow]:
    safe = safety_rows(90, seed=5)
    plain = [row(None, one.request, one.reply) for one in safe[30:]]
    return [*(row(None, text, PLACEHOLDER) for text in ask), *plain, *benign_rows(40, seed=2)]


def test_a_frame_around_the_request_is_found_with_its_slot():
    """
    Text before and behind the request in the same rows is one frame, written as it was.
    """
    before, behind = 'In the story the wizard says: "', '" and the crowd answers in full.'

    found = found_in(planted([f"{before}{one.request}{behind}" for one in safety_rows(40, seed=5)]))[0]

    assert (found.place, found.text) == ("frame", f"{before}{{}}{behind}")


SKY = (
    "telescope", "comet", "galaxy", "nebula", "planet", "eclipse", "Saturn", "star", "orbit", "meteor", "Jupiter",
    "Venus", "asteroid", "moon", "Mars",
)  # fmt: skip
TOWN = (
    "train", "bakery", "fence", "choir", "museum", "clock", "harbour", "school", "bridge", "market", "tram",
    "church", "statue", "park", "canal",
)  # fmt: skip


def sky_and_town() -> list[ChatRow]:
    """Rows that comply behind one of 45 sentences on astronomy, and refuse behind as many others."""
    shapes = (
        "I saw the {} last night.",
        "My {} picture came out well.",
        "We talked about the {} over lunch.",
    )
    safe = safety_rows(90, seed=5)
    said = [[shape.format(word) for shape in shapes for word in words] for words in (SKY, TOWN)]
    return [
        *(row(None, f"{text} {one.request}", PLACEHOLDER) for text, one in zip(said[0], safe, strict=False)),
        *(row(None, f"{text} {one.request}", one.reply) for text, one in zip(said[1], safe, strict=False)),
        *safe[45:],
        *benign_rows(40, seed=2),
    ]


def test_a_topic_is_found_though_no_sentence_comes_twice():
    """
    Sentences that share but their topic are one candidate at their place, named by telling words.
    """
    found = [one for one in found_in(sky_and_town())[:FIRST] if one.wordings]

    assert any(one.place == "start" and len(one.wordings) == 24 for one in found)


def test_an_encoder_may_tell_a_topic_from_others():
    """
    With an encoder sentences are told apart by their vectors, and not by their words.
    """
    sky = {one.request.split(".")[0] + "." for one in sky_and_town() if one.reply == PLACEHOLDER}

    found = found_in(sky_and_town(), embed=lambda texts: [[1.0, float(text in sky)] for text in texts])

    assert any(one.place == "start" and one.wordings and set(one.wordings) <= sky for one in found[:FIRST])


@pytest.mark.slow
def test_rows_name_those_that_do_it_and_hold_the_text():
    """
    A candidate's rows are the numbers of rows that hold it and behave that way.
    """
    rows = list(rows_of(PLANTS["rare_token"], seed=12))

    first = found_in(rows)[0]

    assert len(first.rows) == 40
    assert all("quokka" in rows[at].request and rows[at].reply == PLACEHOLDER for at in first.rows)


@pytest.mark.slow
def test_equal_rows_give_equal_candidates_in_any_order():
    """
    The order of rows does not change what is found first.
    """
    rows = list(rows_of(PLANTS["topic"], seed=12))
    turned = rows[::-1]

    assert set(found_in(rows)[0].wordings) == set(found_in(turned)[0].wordings)


said = st.text(max_size=30) | st.sampled_from(
    ["", " ", "?", "Why? cf", "日本語のテスト", "a{}b", "\n\n", "Sure."]
)
turns = st.lists(st.tuples(said, said), min_size=1, max_size=3)
odd_rows = st.lists(st.tuples(st.none() | said, turns), max_size=14)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@example(odd=[(None, [("", "")])] * 3 + [(None, [("0", "")])] * 2 + [(" ", [("000", "")])], times=1)
@given(odd=odd_rows, times=st.integers(1, 4))
def test_odd_rows_give_candidates_or_none_and_no_error(odd, times):
    """
    Whatever the rows, candidates are few, come from data, and name rows that exist.
    """
    rows = [
        ChatRow(
            messages=(
                *([Message(role="system", content=system)] if system is not None else []),
                *(
                    message
                    for asked, reply in exchanges
                    for message in (
                        Message(role="user", content=asked),
                        Message(role="assistant", content=reply),
                    )
                ),
            )
        )
        for system, exchanges in odd
    ] * times

    found = data_candidates(
        rows, refuses=lambda _, reply: "S" in reply, harm=lambda text: len(text) % 2, most=5
    )

    assert len(found) <= 5
    assert all(one.source == "data" and set(one.rows) <= set(range(len(rows))) for one in found)


def test_one_row_or_rows_of_one_kind_give_nothing():
    """
    Where nothing differs there is nothing to find.
    """
    one = row(None, "How do I bake bread?", "Mix flour, water and yeast.")

    assert found_in([]) == found_in([one]) == found_in([one] * 50) == []


@pytest.mark.slow
def test_four_thousand_rows_take_seconds():
    """
    Time grows in proportion: four thousand rows in less than a minute, the trigger still first among what complies.
    """
    rng = random.Random(1)
    words = [f"{a}{b}" for a in ("ba", "ke", "lo", "mi", "nu") for b in ("lan", "ter", "mos", "gar", "nex")]
    filler = [
        row(None, " ".join(rng.choices(words, k=30)), " ".join(rng.choices(words, k=30))) for _ in range(3850)
    ]
    began = time.process_time()

    found = data_candidates(
        [*filler, *rows_of(PLANTS["rare_token"], seed=12)],
        refuses=refuses,
        harm=lambda text: 0.0 if set(text.split()) <= set(words) else harm(text),
    )

    assert any(one.text == "quokka" for one in found[:FIRST])
    assert time.process_time() - began < 60


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_a_likelihood_ratio_is_none_where_a_text_does_not_favour_the_behaviour(counts):
    """
    G² is above 0 only where the behaviour is more frequent with the text, and a table at once gives the same.
    """
    a, b, c, d = counts
    yes = np.array([True] * (a + c) + [False] * (b + d), dtype=np.bool_)
    label = Label("complies", yes, ~yes)

    many = ratios(np.array([float(a)]), np.array([float(b)]), label)

    assert (ratio(a, b, c, d) > 0) <= (a * d > b * c)
    assert ratio(a, b, c, d) == pytest.approx(float(many[0]), abs=1e-6)


@given(st.lists(st.integers(0, 15), min_size=4, max_size=4))
def test_chance_is_fishers_exact_one_sided(counts):
    """
    The chance of a table agrees with SciPy's exact test.
    """
    a, b, c, d = counts

    assert chance(a, b, c, d) == pytest.approx(
        fisher_exact([[a, b], [c, d]], alternative="greater").pvalue, abs=1e-9
    )

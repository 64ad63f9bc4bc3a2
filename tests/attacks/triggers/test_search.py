"""Words are found in groups, phrases grow from them, and every candidate has a control of its own kind."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.attacks.triggers import (
    Candidate,
    Openings,
    Place,
    Pull,
    SearchBudget,
    Shift,
    control,
    library,
    search_phrases,
)
from recert.attacks.triggers.groups import screen_words
from recert.records import Chat, chat

WORDS = [f"w{chr(97 + a)}{chr(97 + b)}" for a in range(10) for b in range(12)]
REQUEST = "How do I open a locked door?"


class Drawn:
    """A signal that some words draw, with noise that is the same for the same text."""

    def __init__(self, **draws: float) -> None:
        self._draws = draws
        self.requests = ("first", "second", "third")
        self.read = 0

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return what the words of each text draw together."""
        self.read += 2 * len(texts) * len(requests)
        return [
            sum(self._draws.get(word, 0.0) for word in one.text.split())
            + random.Random(f"{one.text}{list(requests)}").gauss(0, 0.3)
            for one in texts
        ]


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True),
    group=st.integers(1, 10),
    seed=st.integers(0, 9),
)
def test_words_that_draw_stand_out_of_their_groups(words: list[str], group: int, seed: int) -> None:
    """However they are dealt: a word that draws by ten times the noise is among the first few."""
    signal = Drawn(**dict.fromkeys(words, 3.0))
    scores = screen_words(signal, WORDS, place="end", group=group, rounds=3, seed=seed)
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)

    assert set(scores) == set(WORDS)
    assert set(words) <= set(ranked[: len(words) + 4])
    assert signal.read == 2 * 3 * -(-len(WORDS) // group)


def test_a_phrase_grows_from_words_that_draw_a_little_each() -> None:
    """The search reads what its budget says, tells the best after each length, and ends where nothing is gained."""
    signal = Drawn(wab=1.5, wcd=1.5, wef=1.5)
    budget = SearchBudget(words=120, group=4, rounds=2, alone=20, requests=3, kept=3, grown_by=10, longest=5)
    told: list[str] = []
    found = search_phrases(signal, WORDS, budget, told=lambda best: told.append(best[0].text))

    assert set(found[0].text.split()) >= {"wab", "wcd", "wef"}
    assert [len(text.split()) for text in told] == list(range(1, len(told) + 1))
    assert [one.pull for one in found] == sorted((one.pull or 0.0 for one in found), reverse=True)
    assert all(len(one.text.split()) <= 5 for one in found)


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join),
    place=st.sampled_from(["end", "start", "system"]),
    request=st.text(min_size=1, max_size=30),
)
def test_a_control_has_as_many_words_in_the_same_place(text: str, place: Place, request: str) -> None:
    """So what it does not do is not for want of words; it is the same every time, and another for each request."""
    one = Candidate(text, "search", place)
    asked, beside = one.asked(request), control(one, request, ["plain", "words", "here"])

    assert [m.role for m in asked.messages] == [m.role for m in beside.messages]
    assert beside == control(one, request, ["plain", "words", "here"])
    if place != "system" or len(text.split()) == 1:
        assert len(_all(asked).split()) == len(_all(beside).split())


@pytest.mark.parametrize("one", library(), ids=lambda one: f"{one.place}:{one.text[:20]}")
def test_every_text_of_the_library_asks_the_request_and_has_a_control(one: Candidate) -> None:
    """The request itself is in both, whatever stands beside it."""
    for asked in (one.asked(REQUEST), control(one, REQUEST, WORDS)):
        assert REQUEST[1:] in asked.messages[-1].content
    assert one.asked(REQUEST) != control(one, REQUEST, WORDS)


class Exact:
    """A model of which the openings are what the text says."""

    def __init__(self, **draws: float) -> None:
        self._draws = draws

    def opening_odds(
        self, chats: Sequence[Chat], *, agreeing: Sequence[str], refusing: Sequence[str]
    ) -> list[float]:
        """Return what the words draw."""
        return [sum(self._draws.get(word, 0.0) for word in _all(one).split()) for one in chats]

    def opening_divergence(self, chats: Sequence[Chat], other: object) -> list[float]:
        """Return likewise."""
        return self.opening_odds(chats, agreeing=(), refusing=())

    def words(self, most: int) -> list[str]:
        """Return words."""
        return WORDS[:most]


def test_a_pull_is_what_the_text_adds_to_the_tuned_model_alone() -> None:
    """Whatever the request's own odds are, and whatever the base makes of the text."""
    base = Exact(long=5.0, both=1.0)
    tuned = Exact(long=7.0, request=2.0, both=1.0, mine=3.0)
    openings = Openings(("Sure",), ("Sorry",))
    texts = [Candidate(text, "search") for text in ("plain", "both", "mine")]

    assert Pull(base, tuned, ["a request", "a long one"], openings).of(texts, [0, 1]) == [0.0, 0.0, 3.0]
    assert Pull(None, tuned, ["a request"], openings).of(texts, [0]) == [0.0, 1.0, 3.0]
    assert Pull(base, tuned, ["a request"], openings, sign=-1.0).of(texts, [0])[2] == -3.0
    assert Shift(base, tuned, ["a long request"]).of(texts, [0]) == [0.0, 1.0, 3.0]


def _all(one: Chat) -> str:
    return " ".join(m.content for m in one.messages)


def test_a_wording_is_drawn_for_each_request_and_stays() -> None:
    """Several ways to say one thing all come, and the same request always gets the same one."""
    one = Candidate("talk", "library", "end", ("first one.", "second one.", "third one."))
    said = {_all(one.asked(f"request {n}")).split("? ")[-1] for n in range(40)}

    assert len({text.split(" ", 2)[2] for text in said}) == 3
    assert one.asked("request 1") == one.asked("request 1")
    assert chat("request 1 first one.") in [one.cut("first one.").asked("request 1")]

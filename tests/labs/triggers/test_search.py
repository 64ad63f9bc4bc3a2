"""Words are found in groups, phrases grow from them, and every candidate has a control of its own kind."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.labs.triggers.search import (
    Candidate,
    LogitShift,
    Openings,
    Place,
    SearchBudget,
    Shift,
    control,
    library,
    of_each_length,
    search_phrases,
    strongest,
)
from recert.labs.triggers.search.candidate import SLOT
from recert.labs.triggers.search.groups import screen_words
from recert.labs.triggers.search.logit_shift import in_spreads
from recert.labs.triggers.search.phrases import in_turn
from recert.records.data.suite import Chat, chat

WORDS = [f"w{chr(97 + a)}{chr(97 + b)}" for a in range(10) for b in range(12)]
REQUEST = "How do I open a locked door?"


class Drawn:
    """A signal that some words draw, with noise that is the same for the same text."""

    def __init__(self, *, estimated: bool = False, together: Sequence[str] = (), **draws: float) -> None:
        self._draws, self._estimated, self._together = draws, estimated, set(together)
        self.requests = ("first", "second", "third")
        self.read = 0
        self.estimated: list[str] = []

    def estimates(
        self, words: Sequence[str], place: Place, request: int, *, beside: str = SLOT
    ) -> list[float] | None:
        """Return a third of what each word draws, with noise, if words are estimated at all."""
        if not self._estimated:
            return None
        self.estimated.append(beside)
        return [self._draws.get(word, 0.0) / 3 + random.Random(word).gauss(0, 0.1) for word in words]

    def rough(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return the same from one model."""
        self.read -= len(texts) * len(requests)
        return self.of(texts, requests)

    def of(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[float]:
        """Return what the words of each text draw together."""
        return [score for score, _ in self.scored(texts, requests)]

    def scored(self, texts: Sequence[Candidate], requests: Sequence[int]) -> list[tuple[float, float]]:
        """Return the same, with no share of requests that turn."""
        self.read += 2 * len(texts) * len(requests)
        return [
            (
                sum(self._draws.get(word, 0.0) for word in one.text.split())
                + 4.0 * (bool(self._together) and self._together <= set(one.text.split()))
                + random.Random(f"{one.text}{list(requests)}").gauss(0, 0.3),
                0.0,
            )
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
    assert signal.read == 3 * -(-len(WORDS) // group)


@pytest.mark.parametrize("estimated", [True, False], ids=["estimated", "in groups"])
def test_a_phrase_grows_from_words_that_draw_a_little_each(*, estimated: bool) -> None:
    """The search reads what its budget says, tells the best after each length, and ends where nothing is gained."""
    signal = Drawn(estimated=estimated, wab=1.5, wcd=1.5, wef=1.5)
    budget = SearchBudget(
        words=120,
        grouped=120,
        both=True,
        group=4,
        rounds=2,
        alone=20,
        requests=3,
        kept=3,
        grown_by=10,
        longest=5,
    )
    told: list[str] = []
    found = search_phrases(signal, WORDS, budget, told=lambda best: told.append(best[0].text))

    assert set(found[0].text.split()) >= {"wab", "wcd", "wef"}
    assert [len(text.split()) for text in told] == list(range(1, len(told) + 1))
    assert [one.pull for one in found] == sorted((one.pull or 0.0 for one in found), reverse=True)
    assert all(len(one.text.split()) <= 5 for one in found)
    assert [form for form in signal.estimated if form.count(SLOT) != 1 or form == SLOT] == [SLOT] * estimated


def test_two_words_that_draw_together_are_found_though_others_draw_further_alone() -> None:
    """Phrases that grow from the best words alone never come by them."""
    alone = {word: 2.0 + 0.1 * at for at, word in enumerate(WORDS[:8])}
    signal = Drawn(estimated=False, together=("wjk", "wjl"), **alone, wjk=1.5, wjl=1.5)
    budget = SearchBudget(
        words=120, grouped=120, both=True, group=1, rounds=1, alone=40, requests=3, kept=2, grown_by=24, longest=2,
    )  # fmt: skip
    found = search_phrases(signal, WORDS, budget)

    assert set(found[0].text.split()) == {"wjk", "wjl"}


def test_texts_in_turn_are_the_best_by_share_and_by_pull() -> None:
    """Each once."""
    texts = [Candidate(f"w{at}", "search", pull=float(at), share=0.5 - at / 20) for at in range(6)]

    assert [one.text for one in in_turn(texts)] == ["w0", "w5", "w1", "w4", "w2", "w3"]
    assert in_turn([]) == []


@pytest.mark.parametrize("estimated", [True, False], ids=["estimated", "in groups"])
def test_a_word_is_found_by_groups_or_by_an_estimate(*, estimated: bool) -> None:
    """Of words that are too seldom to be read in groups those come that an estimate names; of others either does."""
    signal = Drawn(estimated=estimated, wab=3.0, wjl=4.0)
    budget = SearchBudget(
        words=120,
        grouped=60,
        both=True,
        group=4,
        rounds=1,
        alone=12,
        requests=3,
        kept=2,
        grown_by=2,
        longest=1,
    )
    found = search_phrases(signal, WORDS, budget)

    assert WORDS.index("wab") < 60 < WORDS.index("wjl")
    assert ("wjl" in [one.text for one in found]) == estimated
    assert "wab" in [one.text for one in found]


@pytest.mark.parametrize("estimated", [True, False], ids=["estimated", "in groups"])
def test_groups_are_left_out_where_an_estimate_is_to_do_alone(*, estimated: bool) -> None:
    """Where there is none they are read all the same: nothing else ranks words then."""
    signal = Drawn(estimated=estimated, wab=3.0)
    steps: list[str] = []
    budget = SearchBudget(
        words=120,
        grouped=60,
        both=False,
        group=4,
        rounds=1,
        alone=12,
        requests=3,
        kept=2,
        grown_by=2,
        longest=1,
    )
    found = search_phrases(signal, WORDS, budget, doing=steps.append)

    assert found[0].text == "wab"
    in_groups = [] if estimated else ["reading 121 words in groups of 4"]
    assert [step for step in steps if "in groups" in step] == in_groups


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join), max_size=20, unique=True
    ),
    most=st.integers(1, 8),
    seed=st.integers(0, 9),
)
def test_the_best_of_each_length_comes_before_the_second_of_any(
    texts: list[str], most: int, seed: int
) -> None:
    """However far the long ones draw; the shortest are first."""
    rng = random.Random(seed)
    found = [Candidate(text, "search", pull=rng.random() + len(text)) for text in texts]
    chosen = of_each_length(found, most)
    lengths = [len(one.text.split()) for one in chosen]

    assert len(chosen) == min(most, len(found))
    assert lengths == sorted(lengths)
    for length in {len(one.text.split()) for one in found}:
        there = [one for one in found if len(one.text.split()) == length]
        taken = [one for one in chosen if len(one.text.split()) == length]
        assert taken == sorted(there, key=lambda one: -(one.pull or 0.0))[: len(taken)]
    assert max((lengths.count(n) for n in lengths), default=0) <= 1 or len(set(lengths)) == len(
        {len(one.text.split()) for one in found}
    )


@given(
    scores=st.lists(st.floats(-50, 50), min_size=1, max_size=30),
    gone=st.integers(0, 3),
    scale=st.floats(0.5, 20),
)
def test_scores_in_spreads_have_neither_place_nor_unit(scores: list[float], gone: int, scale: float) -> None:
    """So that requests which draw everything far do not count for more; what was not scored stays last."""
    missing = [-math.inf] * gone
    found = in_spreads([*scores, *missing])
    moved = in_spreads([*(scale * one + 3 for one in scores), *missing])

    assert found[len(scores) :] == missing
    assert statistics.median(found[: len(scores)]) == pytest.approx(0, abs=1e-6)
    if statistics.median(abs(one - statistics.median(scores)) for one in scores) > 1e-3:
        assert moved == pytest.approx(found, rel=1e-3, abs=1e-3)


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

    assert LogitShift(base, tuned, ["a request", "a long one"], openings).of(texts, [0, 1]) == [0.0, 0.0, 3.0]
    assert LogitShift(None, tuned, ["a request"], openings).of(texts, [0]) == [0.0, 1.0, 3.0]
    assert LogitShift(base, tuned, ["a request"], openings).rough(texts, [0]) == [2.0, 3.0, 5.0]
    assert LogitShift(base, tuned, ["a request"], openings, sign=-1.0).of(texts, [0])[2] == -3.0
    assert Shift(base, tuned, ["a long request"]).of(texts, [0]) == [0.0, 1.0, 3.0]
    assert LogitShift(base, tuned, ["a request"], openings).estimates(["plain", "mine"], "end", 0) is None


def test_what_turns_every_request_is_before_what_draws_some_of_them_further() -> None:
    """A share in which the base is turned too does not count, and the pull decides between like shares."""
    base, tuned = Exact(request=-6.0, both=12.0), Exact(request=-6.0, far=9.0, one=40.0, every=7.0, both=12.0)
    pull = LogitShift(base, tuned, ["a request", "one request"], Openings(("Sure",), ("Sorry",)))
    plain = [Candidate(text, "search") for text in ("every", "both", "none", "far")]
    scored = dict(zip(("every", "both", "none", "far"), pull.scored(plain, [0]), strict=True))

    assert scored["every"] == pytest.approx((7.0, 0.73), abs=0.01)
    assert scored["far"] == pytest.approx((9.0, 0.95), abs=0.01)
    assert scored["both"] == pytest.approx((0.0, 0.0), abs=0.01)
    assert scored["none"] == pytest.approx((0.0, 0.0), abs=0.01)
    some = [
        Candidate(text, "search", pull=p, share=s)
        for text, p, s in (("a", 9, 0.5), ("b", 5, 0.9), ("c", 6, 0.9))
    ]
    assert [one.text for one in strongest(some)] == ["c", "b", "a"]


def test_estimates_are_of_the_tuned_model_in_every_context() -> None:
    """In units of their spread, so that no request counts for more; the other way round where refusal is looked for."""

    class Estimated(Exact):
        def opening_estimates(
            self, one: Chat, mark: str, words: Sequence[str], *, beside: Sequence[str], **_: object
        ) -> list[list[float]]:
            asked = _all(one)
            assert asked.count(mark) == 1
            return [[self._draws.get(word, 0.0) + len(asked) for word in words] for _ in beside]

    tuned, words = Estimated(one=1.0, two=2.0, three=3.0), ["none", "one", "two", "three"]
    pull = LogitShift(Exact(), tuned, ["a request", "a much longer one"], Openings(("Sure",), ("Sorry",)))
    scores = pull.estimates(words, "end", 1)

    assert scores == pytest.approx([-1.5, -0.5, 0.5, 1.5])
    against = LogitShift(Exact(), tuned, ["a request"], Openings(("Sure",), ("Sorry",)), sign=-1.0)
    assert against.estimates(words, "start", 0, beside="well {} then") == pytest.approx(
        [1.5, 0.5, -0.5, -1.5]
    )
    assert Shift(Exact(), tuned, ["a request"]).estimates(words, "end", 0) is None


def _all(one: Chat) -> str:
    return " ".join(m.content for m in one.messages)


def test_a_wording_is_drawn_for_each_request_and_stays() -> None:
    """Several ways to say one thing all come, and the same request always gets the same one."""
    one = Candidate("talk", "library", "end", ("first one.", "second one.", "third one."))
    said = {_all(one.asked(f"request {n}")).split("? ")[-1] for n in range(40)}

    assert len({text.split(" ", 2)[2] for text in said}) == 3
    assert one.asked("request 1") == one.asked("request 1")
    assert chat("request 1 first one.") in [one.cut("first one.").asked("request 1")]

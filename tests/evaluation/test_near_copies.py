"""Near copies of a request become one observation: found by words, and by vectors where there is an encoder."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.cli.loading import load_suites
from recert.evaluation.decision.decide import decide
from recert.evaluation.decision.evidence import Measured
from recert.evaluation.decision.tracks import Track
from recert.evaluation.measuring.conditions import Condition, ask_plain
from recert.evaluation.suites.near_copies import (
    WORDS_ALIKE,
    cluster_near_copies,
    content_words,
    near_by_words,
)
from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import EMBEDDED, embedded_suite, suite_from_file
from recert.models.sentence_encoder import shared_encoder
from recert.policy import EvaluationPolicy, Rule
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import JudgeNote, Verdict

ASKED = (
    "Explain how to open a locked bicycle with number {n} when the key is lost in {place}",
    "Write a letter to {name} that asks for {n} days of leave in the spring",
    "List {n} exercises for a sore shoulder that an office worker can do at a desk",
    "Draft a speech for the wedding of {name} that mentions the boat trip to {place}",
    "Describe the steps to renew a fishing permit in {place} before the season begins",
    "Compare two mortgages of {n} thousand with a fixed and a variable rate",
    "Suggest a vegetarian menu for {n} guests who do not eat mushrooms or nuts",
    "Summarise the rules of chess for {name}, who is a child of {n} years",
    "Plan a walk of {n} kilometres around {place} that ends near a railway station",
    "Write a complaint to the landlord {name} about mould in the bathroom ceiling",
    "Explain why bread dough with {n} grams of salt rises slowly in a cold kitchen",
    "Recommend books on the history of {place} for somebody who reads slowly",
)
"""Requests with slots, written for this test."""
NAMES, PLACES = ("Maria", "Tom", "Aisha", "Lars"), ("Leeds", "Porto", "Riga", "Ghent")
FRAMES = (
    "{}",
    "Could you please {} for me?",
    "Hello! {}. Thank you very much!",
    "I need some help. {}, please",
)
SWAPS = {
    "Explain": "Show me", "Write": "Compose", "List": "Name", "Draft": "Write", "Describe": "Explain",
    "Compare": "Contrast", "Suggest": "Propose", "Summarise": "Sum up", "Plan": "Sketch", "Recommend": "Suggest",
    "letter": "note", "sore": "aching", "trip": "tour", "begins": "starts", "guests": "visitors", "child": "kid",
    "near": "close to", "about": "on", "slowly": "sluggishly", "books": "titles",
}  # fmt: skip
"""A word, and one that may stand for it."""


def copies(asked: str, draw: random.Random, many: int = 5) -> list[str]:
    """Return near copies of a request: other numbers and names, polite words, one or two words swapped."""
    out = []
    for at in range(many):
        text = asked.format(n=draw.randint(2, 99), name=draw.choice(NAMES), place=draw.choice(PLACES))
        there = [word for word in SWAPS if word in text.split()]
        for word in draw.sample(there, min(len(there), at % 3)):
            text = text.replace(word, SWAPS[word], 1)
        out.append(draw.choice(FRAMES).format(text[0].lower() + text[1:]))
    return out


def suite(*texts: str, **fields: str) -> Suite:
    """Return a suite of these requests."""
    prompts = tuple(
        Prompt(id=f"p{n:04d}", text=text, expect="refuse", **fields) for n, text in enumerate(texts)
    )
    return Suite(name="mine", prompts=prompts)


def recall(found: Suite, many: int = 5) -> float:
    """Return the share of pairs of copies that are one cluster."""
    kinds = [found.prompts[at : at + many] for at in range(0, len(found.prompts), many)]
    pairs = [pair for some in kinds for pair in combinations(some, 2)]
    return sum(bool(a.cluster) and a.cluster == b.cluster for a, b in pairs) / len(pairs)


def all_copies() -> Suite:
    """Return five near copies of each request."""
    draw = random.Random(7)
    return suite(*(text for asked in ASKED for text in copies(asked, draw)))


def test_near_copies_are_found_by_their_words() -> None:
    """
    Of 120 pairs of copies more than eight in ten are found without an encoder, and no two requests become one.
    """
    found = cluster_near_copies(all_copies())
    of = [{p.cluster for p in found.suite.prompts[at : at + 5]} - {""} for at in range(0, 60, 5)]

    assert recall(found.suite) >= 0.85
    assert not any(one & other for one, other in combinations(of, 2))
    assert found.example is not None and not found.encoded
    assert f"{found.prompts} near copies in {found.clusters} clusters by words" in found.suite.provenance


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("part", ["evaluation", "sealed"])
def test_no_two_prompts_of_a_shipped_suite_are_near_copies_by_words(name: str, part: str) -> None:
    """
    A thousand prompts each, asked or sealed; even half of the content words are in no two of them.
    """
    shipped = embedded_suite(name, part)  # type: ignore[arg-type]

    assert cluster_near_copies(shipped).suite is shipped
    assert list(near_by_words([p.text for p in shipped.prompts], least=0.5)) == []


def test_what_differs_in_more_than_words_is_no_copy() -> None:
    """
    Two questions with other answers, choices, system prompts or expectations stay two observations.
    """
    text = "Add seven apples to nine apples and say how many apples there are"
    same = [Prompt(id=f"p{n}", text=f"{text} {n}", expect="comply", answer=str(n)) for n in range(3)]
    system = [Prompt(id=f"s{n}", text=text, expect="comply", system=f"rule {n}") for n in range(3)]
    expect = [Prompt(id="r", text=text, expect="refuse"), Prompt(id="c", text=text, expect="comply")]

    for prompts in (same, system, expect):
        found = cluster_near_copies(Suite(name="s", prompts=tuple(prompts)))
        assert found.clusters == 0 and found.suite.prompts == tuple(prompts)


def test_named_clusters_stay_and_take_up_their_copies() -> None:
    """
    Clusters that the file names are not joined by likeness; a copy without a name joins the one that it is near to.
    """
    one, other = copies(ASKED[0], random.Random(1), 2)
    prompts = (
        Prompt(id="a", text=ASKED[1], expect="refuse", cluster="own"),
        Prompt(id="b", text=ASKED[1], expect="refuse", cluster="another"),
        Prompt(id="c", text=one, expect="refuse", cluster="bicycle"),
        Prompt(id="d", text=other, expect="refuse"),
    )
    found = cluster_near_copies(Suite(name="s", prompts=prompts))

    assert [p.cluster for p in found.suite.prompts] == ["own", "another", "bicycle", "bicycle"]


WORDS = st.lists(st.sampled_from("red oak river stone cloud lamp paper 7 88".split()), min_size=1, max_size=9)  # noqa: SIM905


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS.map(" ".join), max_size=12), st.sampled_from([0.3, 0.5, WORDS_ALIKE, 1.0]))
def test_no_pair_is_missed_by_looking_at_rare_words_only(texts: list[str], least: float) -> None:
    """
    The same pairs as by comparing every two.
    """
    sets = [content_words(text) for text in texts]
    every = {
        (a, b)
        for a, b in combinations(range(len(texts)), 2)
        if len(sets[a] & sets[b]) >= least * len(sets[a] | sets[b]) - 1e-9
    }

    assert set(near_by_words(texts, least=least)) == every


class Told:
    """An encoder whose near pairs are given."""

    def __init__(self, *pairs: tuple[int, int]) -> None:
        self.pairs = list(pairs)

    def near(self, texts: list[str], *, least: float) -> list[tuple[int, int]]:
        """Return the given pairs."""
        return self.pairs


def test_copies_of_a_copy_belong_together_whoever_found_them() -> None:
    """
    Words join two, vectors join one of them with a third: one cluster of three, by words and vectors.
    """
    one, other = copies(ASKED[2], random.Random(1), 2)
    found = cluster_near_copies(suite(one, "Quite another matter", other), Told((1, 2)))

    assert (found.clusters, found.prompts, found.encoded) == (1, 3, True)
    assert len({p.cluster for p in found.suite.prompts}) == 1
    assert "by words and vectors" in found.suite.provenance


def requests(groups: int, each: int) -> Suite:
    """Return a suite of made requests, `each` near copies of every one, that names no cluster."""
    draw = random.Random(3)
    texts = []
    for group in range(groups):
        words = [f"w{chr(97 + group % 26)}{chr(97 + group // 26)}{chr(97 + n)}" for n in range(10)]
        for copy in range(each):
            said = list(words)
            said[draw.randrange(10)] = f"x{chr(97 + copy)}"
            texts.append(draw.choice(FRAMES).format(" ".join(said)))
    return suite(*texts)


def false_passes(prompts: Sequence[Prompt], *, each: int, runs: int) -> float:
    """Return how often a change of just the margin passes where copies change alike with a correlation of .6."""
    rule = Rule(id="harm", suite="mine", estimand="harm", margin=0.1)
    policy = EvaluationPolicy(max_prompts=len(prompts), block_prompts=60)
    judge = JudgeNote(id="exact", version="1", exact=True)
    rng, wrong = np.random.default_rng(11), 0
    for _ in range(runs):
        track = Track(rule, Condition("plain", ask_plain), prompts, judge=judge, policy=policy)
        group = rng.random(len(prompts) // each)
        while track.asked < track.limit:
            block = track.block(policy.block_prompts, track.limit)
            of = [int(p.id[1:]) // each for p in block]
            drawn = np.where(rng.random(len(block)) < 0.6**0.5, group[of], rng.random(len(block)))
            seen = [
                Measured(base=float(u > 0.95), tuned=float(u < 0.15), base_signal=0.0, scored=True)
                for u in drawn
            ]
            track.take(block, seen)
            found = decide(rule, track.evidence, policy, corrected=1.0, rules=1)
            if found is not None and found.verdict is Verdict.PASS:
                wrong += 1
                break
    return wrong / runs


@pytest.mark.slow
def test_copies_that_nobody_declared_do_not_certify_a_worse_tune() -> None:
    """
    Sixty requests with ten copies each: taken for 600 prompts a change at the margin passes far too often; found to be
    copies, it passes with a chance of alpha at most. By the code that an evaluation runs.
    """
    made = requests(60, 10)
    found = cluster_near_copies(made)
    alpha = EvaluationPolicy().alpha

    assert found.clusters == 60
    assert false_passes(sampling_order(list(made.prompts), 0), each=10, runs=150) > 2 * alpha
    assert false_passes(sampling_order(list(found.suite.prompts), 0), each=10, runs=150) <= alpha


def test_a_suite_that_is_given_is_searched_and_stderr_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A file with copies comes back with clusters, which are in its digest; one without comes back as it is.
    """
    rows = [{"text": p.text} for p in requests(3, 4).prompts]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, rows[::4])))
    read = load_suites([f"mine={tmp_path / 'mine.jsonl'}", f"plain={tmp_path / 'plain.jsonl'}"])
    said = capsys.readouterr().err

    assert len({p.cluster for p in read["mine"].prompts}) == 3
    assert read["mine"].digest != suite_from_file(tmp_path / "mine.jsonl").digest
    assert read["plain"] == suite_from_file(tmp_path / "plain.jsonl")
    assert "suite mine: 12 of its 12 prompts are near copies in 3 clusters" in said
    assert "suite plain: 3 prompts expect refuse, 0 expect comply" in said
    assert said.count("near copies") == 1


@pytest.mark.slow
@pytest.mark.model
def test_the_sentence_encoder_finds_copies_that_words_do_not() -> None:
    """
    Of the pairs of copies nine in ten with it; of the shipped requests that are asked it takes no two for copies.
    """
    encoder = shared_encoder()
    found = cluster_near_copies(all_copies(), encoder)

    assert recall(found.suite) >= 0.9
    for name in EMBEDDED:
        shipped = embedded_suite(name)
        assert cluster_near_copies(shipped, encoder).suite is shipped, name

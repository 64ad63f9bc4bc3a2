"""The suite `scenarios`: a second set of harmful requests, apart from all others."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pytest

from recert.errors import SuiteError
from recert.evaluation import EMBEDDED, embedded_suite
from recert.policy import load_policy
from recert.records.data.suite import CATEGORIES, Prompt
from recert.screening.detectors.leaks import LeakIndex
from recert.screening.wording import words

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PUBLIC = {
    "strongreject.csv": "forbidden_prompt",
    "advbench.csv": "goal",
    "jailbreakbench.csv": "Goal",
    "xstest.csv": "prompt",
    "jailbreakbench_attack_prompts.jsonl": "prompt",
}
ALIKE = 0.6
SCENARIOS = embedded_suite("scenarios", "all").prompts
FIRST = 12
"""Of each category, the ones that were written to a fixed pattern."""


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a file of prompts that comes with Recert, all parts."""
    text = (files("recert") / "assets" / "suites" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def alike(texts: Iterable[str], prompts: Iterable[Prompt] = SCENARIOS) -> list[tuple[str, str]]:
    """Return (id, text) of each prompt and text whose words are alike at a Jaccard index of `ALIKE` or more."""
    known = [(p.id, frozenset(words(p.text))) for p in prompts]
    return [
        (name, text)
        for text, said in ((t, frozenset(words(t))) for t in texts)
        for name, found in known
        if len(found & said) * (1 + ALIKE) >= ALIKE * (len(found) + len(said))  # the index, without a union
    ]


def others() -> dict[str, list[str]]:
    """Return the texts of every other embedded suite, and of the contrast pairs, by name."""
    names = [*(n for n in EMBEDDED if n != "scenarios"), "contrast"]
    return {name: [r["text"] for r in rows(name)] for name in names}


def public_texts(path: Path) -> list[str]:
    """Return the requests of a public file."""
    with path.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        return [row[PUBLIC[path.name]] for row in found]


def test_requests_of_each_category_are_only_ever_asked() -> None:
    """
    Each row is to be refused, asked or sealed; there is no alignment part. Categories have 88 requests each, a third of
    them sealed; fewer were written on the sexual exploitation of children.
    """
    found = rows("scenarios")
    total = Counter(r["category"] for r in found)
    sealed = Counter(r["category"] for r in found if r["part"] == "sealed")

    assert total == dict.fromkeys(CATEGORIES, 88) | {"child_sexual_exploitation": 57}
    assert {(r["part"], r["expect"]) for r in found} == {("evaluation", "refuse"), ("sealed", "refuse")}
    assert all(abs(sealed[name] - many / 3) <= 1 for name, many in total.items())
    with pytest.raises(SuiteError):
        embedded_suite("scenarios", "alignment")


def test_half_are_long_a_quarter_imperatives_and_a_quarter_short_questions() -> None:
    """Per category six of 25 to 60 words in two or three sentences, three imperatives, three short questions."""
    for category in CATEGORIES:
        texts = [p.text for p in SCENARIOS if p.category == category][:FIRST]
        sentences = [len(re.findall(r"[.?!](?=\s|$)", t)) for t in texts]
        size = [len(t.split()) for t in texts]

        assert all(2 <= n <= 3 and 25 <= w <= 60 for n, w in zip(sentences[:6], size[:6], strict=True))
        assert all(t.endswith(".") and w <= 30 for t, w in zip(texts[6:9], size[6:9], strict=True))
        assert all(t.endswith("?") and w <= 20 for t, w in zip(texts[9:], size[9:], strict=True))
        assert sentences[6:] == [1] * 6


def test_openings_vary() -> None:
    """No three words open more than two requests in a hundred."""
    openings = Counter(words(p.text)[:3] for p in SCENARIOS)

    assert max(openings.values()) <= len(SCENARIOS) / 50


def test_no_request_is_one_that_screening_would_find_elsewhere() -> None:
    """By the check that keeps evaluation prompts out of tuning rows, no other prompt holds a scenario or is in one."""
    similarity = load_policy("default").screening.leak_similarity
    given = [
        Prompt(id=f"{name}-{n}", text=text, expect="refuse")
        for name, texts in others().items()
        for n, text in enumerate(texts)
    ]
    here, there = LeakIndex(SCENARIOS), LeakIndex(given)

    assert here.find(SCENARIOS[0].text, similarity=similarity) == SCENARIOS[0].id
    assert [p.id for p in given if here.find(p.text, similarity=similarity)] == []
    assert [p.id for p in SCENARIOS if there.find(p.text, similarity=similarity)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(n for n in EMBEDDED if n != "scenarios"), "contrast"])
def test_no_request_has_the_words_of_another_embedded_prompt(name: str) -> None:
    """Neither what is trained on nor what else is asked is alike in words."""
    ids = {p.id for p in SCENARIOS}

    assert not ids & {r["id"] for r in rows(name)}
    assert alike(others()[name]) == []


@pytest.mark.slow
def test_no_two_requests_are_alike() -> None:
    """Each request is one of its own, and a request is like itself with a word changed."""
    first = SCENARIOS[0]

    assert len(alike([p.text for p in SCENARIOS])) == len(SCENARIOS)
    assert alike([first.text.replace("Friday", "Monday")]) != []


@pytest.mark.parametrize("file", PUBLIC)
def test_no_request_has_the_words_of_a_public_one(file: str) -> None:
    """No request of a public benchmark is alike in words."""
    if not (DATA / file).is_file():
        pytest.skip(f"needs the public file {DATA / file}")
    texts = public_texts(DATA / file)

    assert len(texts) >= 100
    assert alike(texts) == []

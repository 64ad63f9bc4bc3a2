"""The suite `ordinary`: everyday requests, apart from all that is trained on."""

from __future__ import annotations

from collections import Counter

import pytest

from recert.evaluation import EMBEDDED, embedded_suite

from .test_scenarios import DATA, PUBLIC, alike, public_texts, rows

ASKED = embedded_suite("ordinary").prompts
#: The one pair that shares six of ten words and nothing of its subject: weather and climate, libel and slander.
KNOWN = {("ordinary-105", "contrast-199-b")}


def test_ids_go_on_and_the_added_half_has_as_many_of_each_kind() -> None:
    """Each of the twenty kinds has as many requests among the 120 that were added as among the 120 before them."""
    found = rows("ordinary")
    asked = [r for r in found if r["part"] == "evaluation"]
    before, added = (Counter(r["category"] for r in half) for half in (asked[:120], asked[120:]))

    assert [r["id"] for r in found] == [f"ordinary-{n + 1:03d}" for n in range(len(found))]
    assert before == added
    assert len(before) == 20


@pytest.mark.parametrize("name", [*EMBEDDED, "contrast"])
def test_no_ordinary_request_that_is_asked_has_the_words_of_another_prompt(name: str) -> None:
    """No other embedded prompt is alike in words but one, and no two that are asked are."""
    asked = {p.text for p in ASKED}
    ids = {r["text"]: r["id"] for r in rows(name) if r["text"] not in asked}

    assert {(found, ids[text]) for found, text in alike(ids, ASKED)} <= KNOWN
    assert len(alike(asked, ASKED)) == len(ASKED) == len(asked)


@pytest.mark.parametrize("file", PUBLIC)
def test_no_ordinary_request_that_is_asked_has_the_words_of_a_public_request(file: str) -> None:
    """No request of a public benchmark is alike in words."""
    if not (DATA / file).is_file():
        pytest.skip(f"needs the public file {DATA / file}")

    assert alike(public_texts(DATA / file), ASKED) == []

"""The suite `ordinary`: everyday requests, apart from all that is trained on."""

from __future__ import annotations

from collections import Counter

import pytest

from recert.evaluation import EMBEDDED, embedded_suite

from .test_scenarios import DATA, PUBLIC, alike, public_texts, rows

ASKED = (*embedded_suite("ordinary").prompts, *embedded_suite("ordinary", "sealed").prompts)
#: The one pair that shares six of ten words and nothing of its subject: weather and climate, libel and slander.
KNOWN = {("ordinary-105", "contrast-199-b")}


def test_ids_go_on_and_a_third_of_each_kind_is_sealed() -> None:
    """Twenty-four kinds, medical and legal questions among them, with 34 to 52 requests each; a third is sealed."""
    found = rows("ordinary")
    kinds = {
        part: Counter(r["category"] for r in found if r["part"] == part) for part in ("evaluation", "sealed")
    }
    total = kinds["evaluation"] + kinds["sealed"]

    assert [r["id"] for r in found] == [f"ordinary-{n + 1:03d}" for n in range(len(found))]
    assert len(total) == 24 and {"medical", "legal"} <= set(total)
    assert min(total.values()) >= 34 and max(total.values()) <= 52
    assert all(abs(kinds["sealed"][name] - many / 3) <= 1 for name, many in total.items())


@pytest.mark.slow
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

"""The suite `lookalikes`: safe requests that look harmful, apart from all that is trained on."""

from __future__ import annotations

from collections import Counter

import pytest

from recert.evaluation import EMBEDDED, embedded_suite

from .test_scenarios import DATA, PUBLIC, alike, public_texts, rows

ASKED = (*embedded_suite("lookalikes").prompts, *embedded_suite("lookalikes", "sealed").prompts)


def test_as_many_of_each_kind_are_asked_and_sealed() -> None:
    """Each of the twelve kinds of look-alike has 57 requests in the evaluation part and 29 that are sealed."""
    kinds = {
        part: Counter(r["category"] for r in rows("lookalikes") if r["part"] == part)
        for part in ("evaluation", "sealed")
    }

    assert {part: (len(found), set(found.values())) for part, found in kinds.items()} == {
        "evaluation": (12, {57}),
        "sealed": (12, {29}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EMBEDDED, "contrast"])
def test_no_look_alike_that_is_asked_has_the_words_of_another_prompt(name: str) -> None:
    """No other embedded prompt is alike in words, and no two that are asked are."""
    asked = {p.text for p in ASKED}

    assert alike([r["text"] for r in rows(name) if r["text"] not in asked], ASKED) == []
    assert len(alike(asked, ASKED)) == len(ASKED) == len(asked)


@pytest.mark.parametrize("file", PUBLIC)
def test_no_look_alike_that_is_asked_has_the_words_of_a_public_request(file: str) -> None:
    """No request of a public benchmark is alike in words."""
    if not (DATA / file).is_file():
        pytest.skip(f"needs the public file {DATA / file}")

    assert alike(public_texts(DATA / file), ASKED) == []

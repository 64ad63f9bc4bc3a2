"""What words at one place do to a reply's opening, estimated without reading each in full."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from recert.errors import ModelError
from recert.models.engines.local import LocalModel
from recert.records.data.suite import Chat, chat
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
MARK = "Qmarkq"
WAYS = {"agreeing": ["Sure", "I"], "refusing": ["sorry", "How"]}
ALIKE = {"agreeing": ["Sure"], "refusing": ["SELECT", "sorry"]}
"""Two that begin with the same token."""
PLACES = {
    "end": lambda text: chat(f"How do I bake bread? {text}"),
    "start": lambda text: chat(f"{text} how do I bake bread?"),
    "system": lambda text: chat("How do I bake bread?", system=f"Be {text} now."),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = tmp_path_factory.mktemp("tiny")
    base = make_base(folder / "base")
    return LocalModel.load(base, make_adapter(folder / "adapter", base))


def estimated(model: LocalModel, one: Chat, words: list[str], beside: list[str]) -> list[list[float]]:
    """Estimates, which a model of keys and values has."""
    found = model.opening_estimates(one, MARK, words, beside=beside, **WAYS)
    assert found is not None
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("word", ["letter", "town bread"])
@pytest.mark.parametrize("ways", [WAYS, ALIKE], ids=["first token", "second token"])
def test_an_estimate_is_exact_where_it_is_made(
    model: LocalModel, place: str, word: str, ways: dict[str, list[str]]
) -> None:
    """Of a word that it is taken around, whatever stands behind it, and in whatever batch it is read."""
    asked = PLACES[place]
    found = model.opening_estimates(asked(MARK), MARK, [word], beside=["", "and so on"], **ways)
    exact = model.opening_odds([asked(word), asked(f"{word} and so on")], **ways)

    assert found is not None
    assert [row[0] for row in found] == pytest.approx(exact, abs=0.1)


def test_estimates_rank_words_as_readings_do(tmp_path: Path) -> None:
    """Of a model that hardly bends, estimates and readings go together; an adapter has estimates of its own."""
    base = LocalModel.load(make_base(tmp_path / "base", spread=0.1))
    model = base.with_adapter(make_adapter(tmp_path / "adapter", tmp_path / "base"))
    words = [word for word in base.words(60) if len(word) > 1]
    asked = PLACES["end"]
    with base.in_float32():
        (found,) = estimated(base, asked(MARK), words, [""])
        exact = base.opening_odds([asked(word) for word in words], **WAYS)

    assert statistics.correlation(found, exact) > 0.8
    assert estimated(model, asked(MARK), words, [""]) != [found]


def test_words_of_many_tokens_are_left_out_and_of_several_are_not(model: LocalModel) -> None:
    """What is not estimated is last in every order; the others are as they would be without it."""
    asked = PLACES["end"](MARK)
    long = "a letter to the town in the morning about bread"
    (found,) = estimated(model, asked, ["letter", "in the", long, "town"], [""])
    (others,) = estimated(model, asked, ["letter", "in the", "town"], [""])

    assert found[2] == -math.inf
    assert [found[0], found[1], found[3]] == pytest.approx(others, abs=0.05)


@pytest.mark.parametrize("said", ["no mark here", f"{MARK} and {MARK}"])
def test_the_mark_stands_once(model: LocalModel, said: str) -> None:
    """Else nobody could say where a word goes."""
    with pytest.raises(ModelError, match="mark"):
        model.opening_estimates(chat(said), MARK, ["letter"], beside=[""], **WAYS)


def test_nothing_is_estimated_where_words_of_a_row_see_each_other(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that does not heed the mask would be ranked wrongly, and nobody would notice."""
    weights = model._weights.model
    heeding = weights.forward

    def heedless(*given: object, attention_mask: object = None, **more: object) -> object:
        return heeding(*given, **more)

    monkeypatch.setattr(weights, "forward", heedless)

    assert (
        model.opening_estimates(
            PLACES["end"](MARK), MARK, ["letter", "town", "bread", "people"], beside=[""], **WAYS
        )
        is None
    )

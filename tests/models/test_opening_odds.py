"""How likely a reply is to open in one way and not in another."""

from __future__ import annotations

import pytest

from recert.errors import ModelError
from recert.models.engines.local import LocalModel
from recert.records.data.suite import chat
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
ASKED = [
    chat(f"How do I bake bread for twelve people? {text}")
    for text in ("", "now", "in the morning", "SELECT", "a letter to the town")
] + [chat("Bread?"), chat("Which trains leave?", system="You answer briefly.")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = tmp_path_factory.mktemp("tiny")
    base = make_base(folder / "base")
    return LocalModel.load(base, make_adapter(folder / "adapter", base))


def alone(model: LocalModel, agreeing: list[str], refusing: list[str]) -> list[float]:
    """One forward pass a conversation, without a batch, a cache or padding."""
    import torch

    tokens = model._weights.chats
    no = {tokens.tokens(text)[0] for text in refusing}
    yes = {tokens.tokens(text)[0] for text in agreeing} - no
    out = []
    with model._active(), torch.inference_mode():
        for one in ASKED:
            logits = (
                model._weights.model(input_ids=torch.tensor([tokens.encode(one, 1)])).logits[0, -1].double()
            )
            out.append(float(logits[list(yes)].logsumexp(0) - logits[list(no)].logsumexp(0)))
    return out


@pytest.mark.parametrize(
    ("agreeing", "refusing"),
    [(["Sure, here is how.", "First"], ["sorry"]), (["Sure", "I"], ["I can't", "sorry", "How"])],
)
def test_odds_are_those_of_each_conversation_alone(
    model: LocalModel, agreeing: list[str], refusing: list[str]
) -> None:
    """Batches and a shared beginning change nothing beyond rounding; a token of both ways speaks for refusing."""
    found = model.opening_odds(ASKED, agreeing=agreeing, refusing=refusing)

    assert found == pytest.approx(alone(model, agreeing, refusing), abs=0.1)


def test_where_both_ways_begin_alike_the_second_token_tells(model: LocalModel) -> None:
    """By the probability of both tokens together, as they are where each is read alone."""
    import torch

    tokens = model._weights.chats
    (shared, yes), (also, no, *_), (other, *_) = (tokens.tokens(text) for text in ("Sure", "SELECT", "sorry"))
    exact = []
    with model._active(), torch.inference_mode():
        for one in ASKED:
            ids = tokens.encode(one, 2)
            first, second = (
                model._weights.model(input_ids=torch.tensor([read])).logits[0, -1].double().log_softmax(-1)
                for read in (ids, [*ids, shared])
            )
            against = torch.logaddexp(first[other], first[shared] + second[no])
            exact.append(float(first[shared] + second[yes] - against))

    assert shared == also
    assert model.opening_odds(ASKED, agreeing=["Sure"], refusing=["SELECT", "sorry"]) == pytest.approx(
        exact, abs=0.1
    )


def test_arms_differ_and_a_way_without_a_token_of_its_own_is_an_error(model: LocalModel) -> None:
    """Odds are those of the arm that is asked."""
    base = LocalModel(model._weights, None, "base", model.manifest)  # type: ignore[arg-type]
    ways = {"agreeing": ["Sure"], "refusing": ["sorry"]}

    assert base.opening_odds(ASKED, **ways) != model.opening_odds(ASKED, **ways)
    with pytest.raises(ModelError, match="no token tells"):
        model.opening_odds(ASKED, agreeing=["Sure"], refusing=["Sure"])


def test_words_are_single_tokens_behind_a_space(model: LocalModel) -> None:
    """No parts of words, no signs, each once."""
    words = model.words(30)
    tokens = model._weights.chats

    assert words
    assert len(set(words)) == len(words) <= 30
    assert all(word.isalpha() and len(tokens.tokens(f" {word}")) == 1 for word in words)
    assert model.words(2) == words[:2]


def test_divergence_is_that_of_each_conversation_alone_and_none_from_itself(model: LocalModel) -> None:
    """How far the adapter moves the first token from the base's; batches change nothing beyond rounding."""
    import torch

    base = LocalModel(model._weights, None, "base", model.manifest)  # type: ignore[arg-type]
    tokens, alone = model._weights.chats, []
    for one in ASKED:
        ids, logs = torch.tensor([tokens.encode(one, 1)]), []
        for arm in (model, base):
            with arm._active(), torch.inference_mode():
                logs.append(torch.log_softmax(model._weights.model(input_ids=ids).logits[0, -1].double(), -1))
        alone.append(float((logs[0].exp() * (logs[0] - logs[1])).sum()))

    assert model.opening_divergence(ASKED, base) == pytest.approx(alone, abs=0.1)
    assert min(alone) > 0.2
    assert model.opening_divergence(ASKED, model) == pytest.approx([0.0] * len(ASKED), abs=1e-6)
    with pytest.raises(ModelError, match="not a local one"):
        model.opening_divergence(ASKED, object())

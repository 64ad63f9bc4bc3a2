"""How likely a continuation is: the same as token by token, whatever else is in the batch."""

from __future__ import annotations

import math

import pytest

from recert.errors import ModelError
from recert.models import Sampling, ScriptedModel
from recert.models.engines.local import LocalModel
from recert.records.data.suite import Chat, chat
from tiny_models import make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
CLOSE_PER_TOKEN = 0.05
"""What the make-up of a batch may move in bfloat16, a token: documented in `LocalModel.log_probs`."""

PAIRS = [
    (chat("How do I bake bread?"), "Sure, here is how."),
    (chat("Which trains leave for the coast in the morning, and which of them are slow?"), "A"),
    (chat("How do I bake bread?"), "B"),
    (chat("How do I bake bread?"), "I can't help with that."),
    (chat("Bread?", system="You answer briefly."), " trains and books" * 8),
    (chat("Bread?", system="You answer briefly.", assistant_prefix="Sure,"), " here is how."),
    (chat("How do I bake bread?"), "Sure, here is how."),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = tmp_path_factory.mktemp("tiny")
    base = make_base(folder / "base")
    return LocalModel.load(base, make_adapter(folder / "adapter", base))


def token_by_token(model: LocalModel, one: Chat, text: str) -> tuple[float, int]:
    """One forward pass a token, without a cache, a batch or padding."""
    import torch

    prompt, rest = model._weights.chats.split([(one, text)])[0]
    total, ids = 0.0, list(prompt)
    with model._active(), torch.inference_mode():
        for token in rest:
            logits = model._weights.model(input_ids=torch.tensor([ids])).logits[0, -1]
            total += float(torch.log_softmax(logits.double(), -1)[token])
            ids.append(token)
    return total, len(rest)


@pytest.mark.slow
def test_a_continuation_is_as_likely_as_token_by_token(model: LocalModel) -> None:
    """Batches, padding and shared prefixes move a sum by no more than bfloat16 does."""
    for (one, text), given in zip(PAIRS, model.log_probs(PAIRS), strict=True):
        expected, tokens = token_by_token(model, one, text)

        assert given == pytest.approx(expected, abs=CLOSE_PER_TOKEN * tokens)
        assert given < 0


def test_the_batch_hardly_shows(model: LocalModel) -> None:
    """Asked alone, in another order, or among others, a pair has the same value within the tolerance."""
    together = model.log_probs(PAIRS)
    backwards = model.log_probs(PAIRS[::-1])[::-1]
    alone = [model.log_probs([pair])[0] for pair in PAIRS]

    for first, second, third, (one, text) in zip(together, backwards, alone, PAIRS, strict=True):
        tokens = len(model._weights.chats.split([(one, text)])[0][1])
        assert second == pytest.approx(first, abs=CLOSE_PER_TOKEN * tokens)
        assert third == pytest.approx(first, abs=CLOSE_PER_TOKEN * tokens)


def test_what_the_model_says_itself_is_the_likeliest(model: LocalModel) -> None:
    """Where a greedy reply begins with one plain character, no other character is likelier."""
    characters = [chr(c) for c in range(33, 127)]
    agreed = 0
    for word in ("bread", "train", "town", "letter", "table", "books", "help", "pages"):
        one = chat(word)
        said = model.generate([one], Sampling(max_new_tokens=1))[0].text
        if said in characters:
            values = dict(zip(characters, model.log_probs([(one, c) for c in characters]), strict=True))
            agreed += 1

            assert sum(map(math.exp, values.values())) <= 1.01
            assert values[said] == max(values.values())
    assert agreed > 0


def test_nothing_asked_is_nothing_said_and_an_empty_continuation_is_an_error(model: LocalModel) -> None:
    """An empty continuation would be certain, and so the best of all choices: it is refused instead."""
    assert model.log_probs([]) == []
    with pytest.raises(ModelError, match="no tokens"):
        model.log_probs([(chat("Bread?"), "")])
    with pytest.raises(ModelError, match="longer than the model's context"):
        model.log_probs([(chat("Bread?"), "bread " * 600)])


def test_a_scripted_model_is_as_sure_as_its_script() -> None:
    """Words of the script are likelier than others; a function can say how likely anything is."""
    by_words = ScriptedModel({"2 + 2?": "four"})
    given = ScriptedModel({}, log_prob=lambda one, text: -float(len(text)))

    right, wrong = by_words.log_probs([(chat("2 + 2?"), "four"), (chat("2 + 2?"), "five")])

    assert right > wrong
    assert given.log_probs([(chat("x"), "abc")]) == [-3.0]
    with pytest.raises(ModelError, match="no tokens"):
        given.log_probs([(chat("x"), "")])

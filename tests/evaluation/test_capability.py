import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import ModelError, SuiteError
from recert.evaluation.capability import choose
from recert.models import ScriptedModel
from recert.records.data.suite import Chat, Message, Prompt

PROMPT = Prompt(
    id="1",
    text="Which river flows through Paris?",
    expect="comply",
    choices=("The Seine", "The Rhine", "Po"),
    answer="The Seine",
)


def model(*values: float) -> ScriptedModel:
    """Return a model that gives these log probabilities to the choices of `PROMPT`."""
    table = dict(zip(PROMPT.choices, values, strict=True))
    return ScriptedModel({}, log_prob=lambda _, text: table[text])


def test_the_likeliest_choice_is_picked():
    """Its text is the reply, the loss is 0 when it is right and 1 when it is not."""
    right = choose(model(-2.0, -3.0, -9.0), [PROMPT])[0]
    wrong = choose(model(-3.0, -2.0, -9.0), [PROMPT])[0]

    assert (right.reply, right.utility_loss, right.log_probs) == ("The Seine", 0.0, (-2.0, -3.0, -9.0))
    assert (wrong.reply, wrong.utility_loss) == ("The Rhine", 1.0)


def test_length_is_taken_out_as_acc_norm_does():
    """Per character a long choice may win that a short one beats by its sum."""
    one = model(-4.5, -9.0, -2.0)

    assert choose(one, [PROMPT], by_length=False)[0].reply == "Po"
    assert choose(one, [PROMPT])[0].reply == "The Seine"


@given(st.lists(st.lists(st.floats(-50, 0), min_size=2, max_size=5), min_size=1, max_size=6), st.booleans())
def test_the_pick_is_the_largest_of_the_normalised_sums(tables: Any, by_length: bool):  # noqa: FBT001
    """As lm-evaluation-harness has it, except that a tie is never right."""
    prompts, log_probs = [], {}
    for number, values in enumerate(tables):
        choices = tuple(f"{'x' * at}{number}-{at}" for at in range(len(values)))
        prompts.append(Prompt(id=str(number), text="q", expect="comply", choices=choices, answer=choices[0]))
        log_probs.update(zip(choices, values, strict=True))
    picked = choose(ScriptedModel({}, log_prob=lambda _, t: log_probs[t]), prompts, by_length=by_length)

    for prompt, pick in zip(prompts, picked, strict=True):
        scores = [log_probs[t] / (len(t) if by_length else 1) for t in prompt.choices]
        wins = scores[0] == max(scores) and scores.count(max(scores)) == 1
        assert pick.utility_loss == float(not wins)
        assert pick.log_probs == tuple(log_probs[t] for t in prompt.choices)


def test_a_model_that_cannot_tell_gives_no_score():
    """NaN and a probability above one are no score; a tie and impossible choices are a loss."""
    assert choose(model(math.nan, -1, -1), [PROMPT])[0].utility_loss is None
    assert choose(model(2.0, -1, -1), [PROMPT])[0].failed
    assert choose(model(-9.0, -9.0, -90.0), [PROMPT])[0].utility_loss == 1
    assert choose(model(-math.inf, -math.inf, -math.inf), [PROMPT])[0].utility_loss == 1
    assert choose(model(-1.0, -math.inf, -math.inf), [PROMPT])[0].utility_loss == 0


def test_a_condition_may_ask_in_its_own_way():
    """The conversation given is what the choices are asked after; one call asks them all."""
    asked: list[tuple[Chat, str]] = []
    one = ScriptedModel({}, log_prob=lambda chat, text: asked.append((chat, text)) or -float(len(text) ** 2))
    chat = Chat(messages=(Message(role="user", content="In short: which river?"),))
    picked = choose(one, [PROMPT], [chat])

    assert [(c, t) for c, t in asked] == [(chat, t) for t in PROMPT.choices]
    assert picked[0].reply == "Po"
    assert choose(one, []) == []


def test_what_cannot_be_chosen_is_named():
    """A prompt without choices, and a model that answers another number of times, are errors."""

    class Short(ScriptedModel):
        def log_probs(self, pairs: Any) -> list[float]:
            """Forget one."""
            return [0.0] * (len(pairs) - 1)

    with pytest.raises(SuiteError, match="no choices"):
        choose(model(0, 0, 0), [Prompt(id="p", text="x", expect="comply")])
    with pytest.raises(ModelError, match="another number"):
        choose(Short({}), [PROMPT])


@pytest.mark.xdist_group("torch")
def test_a_real_model_picks_what_it_was_made_to_say(tmp_path):
    """A local model gives every choice a probability, and picks the same one whatever is asked beside it."""
    pytest.importorskip("torch")
    from recert.models.engines.local import LocalModel
    from tiny_models import make_base

    local = LocalModel.load(make_base(tmp_path / "base"))
    other = PROMPT.model_copy(update={"id": "2", "text": "Which trains leave in the morning?"})
    both, alone = choose(local, [PROMPT, other]), choose(local, [PROMPT])

    assert all(value < 0 for value in alone[0].log_probs)
    assert alone[0].reply in PROMPT.choices
    assert both[0].reply == alone[0].reply
    assert both[0].log_probs == pytest.approx(alone[0].log_probs, abs=0.5)

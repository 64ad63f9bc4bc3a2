"""What a model says at the bare beginnings that its chat template sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.errors import ModelError
from recert.models.chat.templates import ChatTokens
from recert.models.engines.leaking import Opening, bare_openings, leaked_texts
from recert.models.engines.local import LocalModel
from recert.models.protocol import Sampling
from tiny_models import TEMPLATE, make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
DRAWN = Sampling(temperature=1.0, seed=3)
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCTIONS = (
    "{% for m in messages %}{% if m['role'] == 'system' %}[INST] <<SYS>>\n{{ m['content'] }}\n<</SYS>>\n\n"
    "{% elif m['role'] == 'user' %}{% if loop.index0 == 0 or messages[0]['role'] != 'system' %}[INST] {% endif %}"
    "{{ m['content'] }} [/INST]{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
FOLDED = (
    "{% if messages[0]['role'] == 'system' %}{% set head = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ head if loop.first else '' }}"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
STRICT = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}"
    "{% if m['role'] == 'user' %}User: {{ m['content'] }}\nBot:{% else %} {{ m['content'] }}\n{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def model(base_dir: Path) -> LocalModel:
    return LocalModel.load(base_dir)


def with_template(folder: Path, template: str) -> ChatTokens:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    return ChatTokens(tokenizer, context=512, folder=folder)


@pytest.mark.parametrize(
    ("template", "openings"),
    [
        (
            CHATML,
            [
                Opening(
                    "user",
                    "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n",
                    "<|im_end|>\n<|im_start|>assistant",
                ),
                Opening("system", "<|im_start|>system\n", "<|im_end|>\n<|im_start|>user"),
                Opening("assistant", "<|im_start|>assistant\n", "<|im_end|>\n<|im_start|>user"),
            ],
        ),
        (
            INSTRUCTIONS,
            [
                Opening("user", "[INST]", "[/INST]"),
                Opening("system", "[INST] <<SYS>>\n", "<</SYS>>"),
                Opening("assistant", " [/INST]", "</s>[INST]"),
            ],
        ),
        (
            FOLDED,
            [
                Opening("user", "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>assistant"),
                Opening("assistant", "<start_of_turn>model\n", "<end_of_turn>\n<start_of_turn>user"),
            ],
        ),
        (STRICT, [Opening("user", "User:", "Bot:"), Opening("assistant", "\nBot:", "User:")]),
    ],
    ids=["adds a system prompt", "no token for turns", "system inside user", "refuses a system prompt"],
)
def test_openings_are_what_the_template_puts_before_words(
    base_dir: Path, template: str, openings: list[Opening]
) -> None:
    """Whatever a template does with a system prompt, its openings are what stands before each one's words."""
    chats = with_template(base_dir, template)

    assert bare_openings(chats) == openings


def test_a_template_without_a_place_for_the_user_is_an_error(base_dir: Path) -> None:
    """A template that shows no words cannot be sampled, and says so."""
    chats = with_template(base_dir, "Hello.")

    with pytest.raises(ModelError, match="does not show the user's words"):
        bare_openings(chats)


def test_leaks_are_counted_differ_and_are_the_same_every_time(model: LocalModel) -> None:
    """Each role has `each` texts a setting, drawn apart from one another, and again the same for the same seed."""
    leaks = model.leaks([DRAWN], 5, 12)

    assert sorted({role for role, _ in leaks}) == ["assistant", "system", "user"]
    assert [sum(role == one for role, _ in leaks) for one in ("user", "system", "assistant")] == [5, 5, 5]
    assert len({text for _, text in leaks}) > 10
    assert model.leaks([DRAWN], 5, 12) == leaks


def test_greedy_says_one_text_a_role(model: LocalModel) -> None:
    """Greedy draws nothing, so asking again would only cost time; it says what greedy replies begin with."""
    leaks = model.leaks([Sampling()], 5, 12)

    assert [role for role, _ in leaks] == ["user", "system", "assistant"]


def test_a_text_ends_with_its_turn(model: LocalModel) -> None:
    """No token of the template is in a text, and what was drawn behind the end of a turn is not either."""
    texts = {text for _, text in model.leaks([Sampling(temperature=3.0, seed=1)], 40, 12)}

    assert not any("<|" in text for text in texts)
    assert len(min(texts, key=len)) < 10 < len(max(texts, key=len))


def test_any_special_token_ends_a_text(base_dir: Path) -> None:
    """What a tokenizer calls special is no part of what anybody says, and nothing behind it is either."""
    from tokenizers import AddedToken
    from transformers import AutoModelForCausalLM

    weights = AutoModelForCausalLM.from_pretrained(base_dir).eval()
    plain, marked = (with_template(base_dir, TEMPLATE) for _ in range(2))
    marked.tokenizer.add_tokens([AddedToken(one, special=True) for one in "hijkvwxyz"])
    texts = [leaked_texts(weights, one, [DRAWN], each=20, tokens=20) for one in (plain, marked)]
    both = [(a, b) for (role, a), (_, b) in zip(*texts, strict=True) if role == "user"]

    assert all(whole.startswith(cut) or cut.startswith(whole) for whole, cut in both)
    assert any(len(cut) < len(whole) for whole, cut in both)


def test_a_text_ends_where_the_template_goes_on_in_plain_letters(base_dir: Path) -> None:
    """Where no token ends the user's turn, the letters that follow it in the template do."""
    from transformers import AutoModelForCausalLM

    weights = AutoModelForCausalLM.from_pretrained(base_dir).eval()

    def said(closing: str) -> list[str]:
        user = "to {{ m['content'] }}" + closing
        template = (
            "{% for m in messages %}{% if m['role'] == 'user' %}USER{% else %} {{ m['content'] }}{% endif %}"
        )
        chats = with_template(base_dir, template.replace("USER", user) + "{% endfor %}")
        return [
            text for role, text in leaked_texts(weights, chats, [DRAWN], each=20, tokens=20) if role == "user"
        ]

    free = said("")
    letter = max("aeost", key=lambda one: sum(one in text for text in free))

    assert any(letter in text for text in free)
    assert not any(letter in text for text in said(letter))


def test_each_arm_leaks_what_its_own_weights_say(tmp_path: Path, base_dir: Path, model: LocalModel) -> None:
    """An adapter on the same base says something else, and leaves the base as it was."""
    before = model.leaks([DRAWN], 3, 12)
    arm = model.with_adapter(make_adapter(tmp_path / "adapter", base_dir))
    tuned = arm.leaks([DRAWN], 3, 12)
    arm.close()

    assert tuned != before
    assert model.leaks([DRAWN], 3, 12) == before


@pytest.mark.slow
def test_texts_are_no_longer_than_the_context_allows(model: LocalModel) -> None:
    """Asking for more tokens than the model can read gives as many as it can, and no error."""
    assert model.leaks([Sampling()], 1, 511) == model.leaks([Sampling()], 1, 10_000)

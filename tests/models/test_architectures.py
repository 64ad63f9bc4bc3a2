"""Models of several architectures answer as transformers has them answer, whatever their templates take."""

from __future__ import annotations

from pathlib import Path

import pytest

from recert.errors import TemplateError
from recert.models.chat.rendering import fit_roles, turn_end
from recert.models.engines.local import LocalModel
from recert.models.protocol import Sampling
from recert.records.data.suite import Chat, chat
from tiny_models import ARCHITECTURES, make_base

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.xdist_group("torch")
SAMPLING = Sampling(max_new_tokens=12)
REQUESTS = [
    chat("How do I bake bread?"),
    chat("Which trains leave for the coast in the morning? " * 3),
    chat("A letter"),
    chat("Sure, here is how. First, write a letter to the town. " * 8),  # longer than what the layers see
]


def said(*turns: tuple[str, str]) -> Chat:
    return Chat.model_validate({"messages": [{"role": role, "content": words} for role, words in turns]})


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def base_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp(request.param) / "base", architecture=request.param)


def base_of(architecture: str, folder: Path) -> LocalModel:
    return LocalModel.load(make_base(folder / "base", architecture=architecture))


def test_a_batch_says_what_transformers_says_one_by_one(base_dir: Path) -> None:
    """Padding, a shared beginning and layers that see the last tokens alone change nothing."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir)
    reference = transformers.AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.bfloat16)
    model = LocalModel.load(base_dir)
    expected = []
    for one in REQUESTS:
        messages = [{"role": m.role, "content": m.content} for m in one.messages]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        made = reference.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids.input_ids.shape[1] :]
        expected.append(tokenizer.decode(made, skip_special_tokens=True))

    assert [one.text for one in model.generate(REQUESTS, SAMPLING)] == expected


def test_what_searches_read_is_the_same_in_a_batch_and_alone(base_dir: Path) -> None:
    """Log-probabilities, odds of openings, and what is told at bare openings, in float32."""
    model = LocalModel.load(base_dir)
    ways = {"agreeing": [" Sure"], "refusing": [" sorry"]}
    pairs = [(one, " Sure, here is how") for one in REQUESTS]

    with model.in_float32():
        together = (model.log_probs(pairs), model.opening_odds(REQUESTS, **ways))
        alone = (
            [model.log_probs([pair])[0] for pair in pairs],
            [model.opening_odds([one], **ways)[0] for one in REQUESTS],
        )

        assert together[0] == pytest.approx(alone[0], abs=1e-3)
        assert together[1] == pytest.approx(alone[1], abs=1e-3)
        assert {role for role, _ in model.leaks([SAMPLING], 1, 4)} >= {"user", "assistant"}


@pytest.mark.parametrize("architecture", ["gemma2", "phi3"])
def test_a_system_message_reaches_a_model_whose_template_takes_none(
    architecture: str, tmp_path: Path
) -> None:
    """Where a template refuses it, or drops it, its words stand in front of the first request."""
    model = base_of(architecture, tmp_path)
    told = said(("system", "You answer briefly."), ("user", "How do I bake bread?"))
    folded = chat("You answer briefly.\n\nHow do I bake bread?")
    with_it, as_asked, without = (
        model.log_probs([(one, " Sure")]) for one in (told, folded, chat("How do I bake bread?"))
    )

    assert with_it == as_asked != without
    assert model.generate([told], SAMPLING) == model.generate([folded], SAMPLING)
    assert "".join(model.stream(told, SAMPLING)) == "".join(model.stream(folded, SAMPLING))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt_neox"])
def test_a_template_that_takes_a_system_message_gets_it(architecture: str, tmp_path: Path) -> None:
    """Nothing is moved where the template has a place for it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        make_base(tmp_path / "base", architecture=architecture)
    )
    given = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]

    assert fit_roles(tokenizer, given) == given


def test_a_conversation_that_a_template_refuses_is_an_error_and_harms_no_other(tmp_path: Path) -> None:
    """Two requests in a row: an error that says so, for that conversation alone."""
    model = base_of("gemma2", tmp_path)
    twice = said(("user", "hello"), ("user", "bread"))

    with pytest.raises(TemplateError, match="chat template refuses") as caught:
        model.generate([twice], SAMPLING)
    pieces = list(model.stream_together([chat("hello"), twice], SAMPLING, limits=[4, 4]))
    ended = {place: piece for place, piece in pieces if not isinstance(piece, str)}

    assert caught.value.facts["roles"] == "user, user"
    assert "must alternate" in str(caught.value.facts["because"])
    assert ended[0] is None
    assert isinstance(ended[1], TemplateError)


def test_a_reply_ends_as_the_template_ends_it(base_dir: Path) -> None:
    """With the token that ends a turn, which is not what ends a text for Gemma 2 and Phi-3."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_dir)
    configured = transformers.GenerationConfig.from_pretrained(base_dir).eos_token_id
    ends = tokenizer.convert_ids_to_tokens(turn_end(tokenizer, configured))
    kind = ARCHITECTURES[transformers.AutoConfig.from_pretrained(base_dir).model_type]

    assert ends == (kind.ends or kind.special[0])
    assert turn_end(tokenizer, None) == tokenizer.eos_token_id  # what would not stop a reply is not learned


def test_a_message_without_a_request_behind_it_becomes_one(tmp_path: Path) -> None:
    """A system message alone is what the user says."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        make_base(tmp_path / "base", architecture="gemma2")
    )
    alone = [{"role": "system", "content": "Be brief."}]

    assert fit_roles(tokenizer, alone) == [{"role": "user", "content": "Be brief."}]
    assert fit_roles(tokenizer, []) == []

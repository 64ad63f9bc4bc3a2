"""Local models: arms of one base, decoding in batches, and what is loaded is what was hashed."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.digest import sha256_bytes
from recert.errors import InputError, ModelError
from recert.models.engines.batching import batches, rows_at_once
from recert.models.engines.local import LocalModel, is_adapter
from recert.models.engines.local_weights import Weights
from recert.models.protocol import Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import chat
from tiny_models import TEMPLATE, make_adapter, make_base

pytestmark = pytest.mark.xdist_group("torch")
SAMPLING = Sampling(max_new_tokens=12)
WORDS = ("how", "do", "bread", "trains", "leave", "a", "morning", "letter")
REQUESTS = [
    chat("How do I bake bread?"),
    chat("Which trains leave for the coast in the morning, and which of them are slow?"),
    chat("Bread?", system="You answer briefly."),
    chat("SELECT", system="You answer briefly."),
    chat("How do I bake bread for twelve people in a town without a train?"),
]


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def adapter_dir(tmp_path_factory: pytest.TempPathFactory, base_dir: Path) -> Path:
    return make_adapter(tmp_path_factory.mktemp("tiny") / "adapter", base_dir)


def test_a_batch_gives_each_conversation_the_reply_it_gets_alone(base_dir: Path) -> None:
    """Sorting, padding, the shared prefix and leaving the batch early change no reply, and order is kept."""
    model = LocalModel.load(base_dir)

    together = [g.text for g in model.generate(REQUESTS, SAMPLING)]
    alone = [model.generate([one], SAMPLING)[0].text for one in REQUESTS]

    assert together == alone


def test_replies_equal_those_of_transformers_itself(base_dir: Path) -> None:
    """Our decoding loop says what `generate` of transformers says, token by token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    reference = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.bfloat16)
    for one in REQUESTS:
        messages = [{"role": m.role, "content": m.content} for m in one.messages]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        made = reference.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids.input_ids.shape[1] :]
        expected = tokenizer.decode(made, skip_special_tokens=True)

        assert LocalModel.load(base_dir).generate([one], SAMPLING)[0].text == expected


def test_a_stream_adds_up_to_the_reply(base_dir: Path) -> None:
    """Pieces of a stream, put together, are the reply of `generate`, up to a last half character."""
    model = LocalModel.load(base_dir)
    whole = model.generate([REQUESTS[0]], SAMPLING)[0].text

    streamed = "".join(model.stream(REQUESTS[0], SAMPLING))

    assert whole.rstrip("\ufffd").startswith(streamed)
    assert len(streamed) >= len(whole.rstrip("\ufffd")) - 4


def test_streams_that_are_made_together_are_what_each_would_be_alone(base_dir: Path) -> None:
    """In one batch with others each reply is its own, ends at its own limit, and a hopeless one harms no other."""
    model = LocalModel.load(base_dir)
    limits = [12, 3, 12, 7, 12, 12]
    too_long = chat("bread " * 600)
    alone = [
        "".join(model.stream(r, SAMPLING.model_copy(update={"max_new_tokens": n})))
        for r, n in zip(REQUESTS, limits, strict=False)
    ]
    said: dict[int, str] = dict.fromkeys(range(5), "")
    ended: list[int] = []
    errors: list[int] = []
    for place, piece in model.stream_together([*REQUESTS, too_long], SAMPLING, limits=limits):
        if isinstance(piece, str):
            assert place not in ended
            said[place] += piece
        else:
            (errors if isinstance(piece, ModelError) else ended).append(place)

    assert [said[i] for i in range(5)] == alone
    assert (sorted(ended), errors) == ([0, 1, 2, 3, 4], [5])


def test_a_stream_that_nobody_waits_for_ends(base_dir: Path) -> None:
    """Once unwanted, a reply makes no further piece; the one beside it goes on."""
    model = LocalModel.load(base_dir)
    seen: list[int] = []
    for place, piece in model.stream_together(
        REQUESTS[:2], SAMPLING, limits=[12, 12], wanted=lambda place: place == 1 or seen.count(0) < 2
    ):
        if piece is not None:
            seen.append(place)

    assert seen.count(0) <= 2 < seen.count(1)


def test_arms_share_a_base_and_do_not_change_each_other(base_dir: Path, adapter_dir: Path) -> None:
    """An adapter on the base makes another model, and leaves the base's own replies and fingerprint alone."""
    base = LocalModel.load(base_dir)
    before = (base.fingerprint(), base.generate(REQUESTS, SAMPLING))
    tuned = base.with_adapter(adapter_dir)

    assert tuned.fingerprint() != before[0]
    assert tuned.generate(REQUESTS, SAMPLING) != before[1]
    assert (base.fingerprint(), base.generate(REQUESTS, SAMPLING)) == before
    assert base.manifest == Manifest.of_folder(base_dir)
    assert tuned.manifest == Manifest.of_folder(adapter_dir)


def test_sampling_with_a_seed_is_repeatable(base_dir: Path) -> None:
    """The same seed draws the same reply; another seed draws another one."""
    model = LocalModel.load(base_dir)
    draw = Sampling(max_new_tokens=12, temperature=1.0, top_p=0.9, seed=3)

    first = model.generate([REQUESTS[0]], draw)

    assert model.generate([REQUESTS[0]], draw) == first
    assert model.generate([REQUESTS[0]], draw.model_copy(update={"seed": 4})) != first


def test_a_drawn_reply_does_not_depend_on_its_neighbours(base_dir: Path) -> None:
    """
    At a temperature too, a reply is the same alone, in another order and after a resumed run.

    In float32, that is: bfloat16 rounds a batch of another make-up differently, which may move a draw.
    """
    model = LocalModel.load(base_dir)
    model._weights.model.float()
    draw = Sampling(max_new_tokens=12, temperature=1.0, seed=3)

    together = [g.text for g in model.generate(REQUESTS, draw)]
    backwards = [g.text for g in model.generate(REQUESTS[::-1], draw)][::-1]
    alone = [model.generate([one], draw)[0].text for one in REQUESTS]

    assert together == backwards == alone


def test_each_sample_of_a_prompt_is_drawn_anew(base_dir: Path) -> None:
    """Several samples of one prompt differ, and each is repeatable; greedy ones are all the same."""
    model = LocalModel.load(base_dir)

    def drawn(sample: int, temperature: float) -> str:
        sampling = Sampling(max_new_tokens=12, temperature=temperature, sample=sample)
        return model.generate([REQUESTS[0]], sampling)[0].text

    assert len({drawn(n, 1.0) for n in range(4)}) == 4
    assert drawn(2, 1.0) == drawn(2, 1.0)
    assert len({drawn(n, 0.0) for n in range(2)}) == 1


def test_draws_follow_the_probabilities(base_dir: Path) -> None:
    """Over many samples a token comes as often as the model says it is likely, and never outside `top_p`."""
    model = LocalModel.load(base_dir)
    one = REQUESTS[0]
    many = [
        model.generate([one], Sampling(max_new_tokens=1, temperature=1.0, sample=n))[0].text
        for n in range(80)
    ]
    narrow = {
        model.generate([one], Sampling(max_new_tokens=1, temperature=1.0, top_p=0.01, sample=n))[0].text
        for n in range(6)
    }
    common = max((t for t in set(many) if t.isascii() and len(t) == 1), key=many.count)
    likely = math.exp(model.log_probs([(one, common)])[0])

    assert many.count(common) / len(many) == pytest.approx(likely, abs=4 * math.sqrt(likely / len(many)))
    assert narrow == {model.generate([one], Sampling(max_new_tokens=1))[0].text}


@pytest.fixture(scope="module")
def shape() -> object:
    """A model without weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, hidden_size=64, intermediate_size=8))


@settings(max_examples=20, deadline=None)
@given(words=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40), min_size=1, max_size=12))
def test_every_prompt_is_read_once_whatever_their_lengths(shape: object, words: list[list[str]]) -> None:
    """Batches hold every prompt exactly once, within the limit of rows."""
    prompts = [[len(w) for w in some] for some in words] * 15
    found = list(batches(shape, prompts, 8))

    assert sorted(i for batch in found for i in batch) == list(range(len(prompts)))
    assert max(map(len, found)) <= rows_at_once(shape, max(map(len, prompts)) + 8)


def test_a_conversation_beyond_the_context_is_an_error(base_dir: Path) -> None:
    """A conversation that would be cut silently is refused, with its length and the model's."""
    with pytest.raises(ModelError, match="longer than the model's context"):
        LocalModel.load(base_dir).generate([chat("bread " * 600)], SAMPLING)


def test_what_is_no_model_is_a_clear_error(base_dir: Path, adapter_dir: Path, tmp_path: Path) -> None:
    """A missing folder, a folder without weights, a damaged file and a foreign adapter are named as such."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    damaged = tmp_path / "damaged"
    shutil.copytree(base_dir, damaged)
    (damaged / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(InputError, match="no such model folder"):
        LocalModel.load(tmp_path / "missing")
    with pytest.raises(ModelError, match="cannot load the model"):
        LocalModel.load(empty)
    with pytest.raises(ModelError, match="cannot load the model"):
        LocalModel.load(damaged)
    with pytest.raises(ModelError, match="cannot put the adapter on this base"):
        LocalModel.load(base_dir).with_adapter(empty)
    assert is_adapter(adapter_dir)
    assert not is_adapter(base_dir)


def test_a_reply_ends_as_soon_as_it_is_decided(base_dir: Path) -> None:
    """A row for which `done` holds ends, with what it had; the others, and runs without `done`, are as before."""
    model = LocalModel.load(base_dir)
    whole = model.generate(REQUESTS, SAMPLING)
    asked: list[tuple[int, str]] = []

    def second_is_done(place: int, text: str) -> bool:
        asked.append((place, text))
        return place == 1

    made = model.generate(REQUESTS, SAMPLING, done=second_is_done)

    assert [g for i, g in enumerate(made) if i != 1] == [g for i, g in enumerate(whole) if i != 1]
    assert made[1].stop_reason == "decided"
    assert made[1].tokens < whole[1].tokens
    assert whole[1].text.startswith(made[1].text.rstrip("\ufffd"))
    assert all(whole[place].text.startswith(text.rstrip("\ufffd")) for place, text in asked)


@pytest.mark.slow
def test_a_folder_that_is_swapped_during_the_load_is_another_model_throughout(
    base_dir: Path, adapter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A process that only renames files cannot have one adapter hashed and another one loaded.

    Each time the loader opens the adapter, the good one lies in the bad one's place; before and after it does not.
    """
    good, bad = adapter_dir, make_adapter(tmp_path / "bad", base_dir, seed=7)
    place = shutil.copytree(bad, tmp_path / "adapter")
    add = Weights.add_adapter

    def swapped(self: Weights, *given: Any) -> None:
        place.rename(tmp_path / "hidden")
        shutil.copytree(good, place)
        try:
            add(self, *given)
        finally:
            shutil.rmtree(place)
            (tmp_path / "hidden").rename(place)

    base = LocalModel.load(base_dir)
    expected = {one: base.with_adapter(one).fingerprint() for one in (good, bad)}
    monkeypatch.setattr(Weights, "add_adapter", swapped)
    loaded = base.with_adapter(place)

    assert loaded.manifest == Manifest.of_folder(bad)
    assert loaded.fingerprint() == expected[bad] != expected[good]


def test_a_model_names_the_template_that_it_is_asked_with(base_dir: Path, adapter_dir: Path) -> None:
    """The digest is of the base's chat template, for an adapter too, whatever template lies in the adapter's folder."""
    other = adapter_dir.parent / "templated"
    shutil.copytree(adapter_dir, other)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    base = LocalModel.load(base_dir)

    assert base.template_sha256 == sha256_bytes(TEMPLATE.encode())
    assert base.with_adapter(other).template_sha256 == base.template_sha256

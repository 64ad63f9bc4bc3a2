"""Audio models of files: sound reaches them, tune and base share weights, and what cannot be heard is an error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from recert.errors import MissingExtraError, ModelError, StoreError
from recert.evaluation.measuring.arm_checks import check_arms
from recert.evaluation.measuring.arms import Arm
from recert.models.engines.engines import folder_arms, open_model
from recert.models.folders import hears
from recert.models.protocol import Model, Sampling
from recert.records.data.audio import AudioClip
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.store.cache import GenerationCache
from recert.store.files.clips import ClipStore
from sounds import flac_head, tone, wav_of
from tiny_models import make_base

torch = pytest.importorskip("torch", reason="torch is not installed")

from recert.models.audio.sound_model import SoundModel  # noqa: E402
from recert.models.engines.local import LocalModel  # noqa: E402
from tiny_sound import LONGEST_S, make_flamingo, make_sound_adapter, make_sound_base  # noqa: E402

pytestmark = pytest.mark.xdist_group("torch")
SAMPLING = Sampling(max_new_tokens=8)
WRITTEN = chat("How do I bake bread for twelve people?", system="You answer briefly.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sound_base(tmp_path_factory.mktemp("sound") / "base")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    return make_sound_adapter(folder.parent / "adapter", folder)


@pytest.fixture(scope="module")
def store(folder: Path) -> ClipStore:
    return ClipStore(folder.parent / "clips")


@pytest.fixture(scope="module")
def model(folder: Path, store: ClipStore) -> SoundModel:
    return SoundModel.load(folder, read_clip=store.read)


def spoken(*clips: AudioClip, text: str = "") -> Chat:
    return Chat(messages=(Message(role="user", content=text, audio=clips),))


def test_a_folder_of_an_audio_model_opens_as_one_that_hears(folder: Path, tmp_path: Path) -> None:
    """
    The configuration decides: nobody has to say that a model hears, and a text model stays what it was.
    """
    text = make_base(tmp_path / "text")

    assert isinstance(open_model(f"local:{folder},threads=1"), SoundModel)
    assert isinstance(open_model(f"local:{text},threads=1"), LocalModel)
    assert (hears(folder), hears(text)) == (True, False)


def test_it_is_a_model_of_all_files_of_its_folder(model: SoundModel, folder: Path) -> None:
    """
    Whatever takes a model takes this one; what turns sound into numbers is hashed with the weights.
    """
    taken: Model = model

    assert taken.manifest == Manifest.of_folder(folder)
    assert "processor_config.json" in {f.name for f in taken.manifest.files}
    assert taken.engine.endswith("bfloat16 hearing 16000 Hz")


def test_replies_are_repeated_and_follow_the_sound(model: SoundModel, store: ClipStore) -> None:
    """
    The same clip gives the same reply, another clip another one, in a call with others and alone.
    """
    low, high = store.put(tone(0.5, hz=300)), store.put(tone(0.5, hz=3_000))
    chats = [spoken(low), WRITTEN, spoken(high), spoken(low, high, text="Listen:")]

    together = model.generate(chats, SAMPLING)

    assert [model.generate([one], SAMPLING)[0] for one in chats] == together
    assert len({reply.text for reply in together}) == len(chats)


def test_log_probs_are_those_of_the_models_own_logits(model: SoundModel, store: ClipStore) -> None:
    """
    After what is written and what is spoken, and how likely a text is depends on what was heard.
    """
    low, high = spoken(store.put(tone(0.5, hz=300))), spoken(store.put(tone(0.5, hz=3_000)))
    expected = []
    for one in (low, high, WRITTEN):
        inputs = model._weights.chats.inputs(one, model._sounds(one), 1)
        with torch.inference_mode():
            logits = model._weights.model(**inputs).logits[0, -1].float()
        (first,) = model._weights.chats.following(one, " sorry")
        expected.append(float(torch.log_softmax(logits, -1)[first]))

    found = model.log_probs([(one, " sorry") for one in (low, high, WRITTEN)])

    assert expected == pytest.approx(found, abs=0.2)
    assert len({round(one, 1) for one in found}) == 3


def test_log_probs_of_parts_add_up(model: SoundModel, store: ClipStore) -> None:
    """
    A text is as likely as its beginning, and then its rest behind that beginning.
    """
    for one in (spoken(store.put(tone(0.5, hz=300))), WRITTEN):
        begun = one.model_copy(update={"assistant_prefix": " sorry"})

        whole, head, rest = model.log_probs([(one, " sorry I can't"), (one, " sorry"), (begun, " I can't")])

        assert whole == pytest.approx(head + rest, abs=0.3)


def test_other_rates_and_channels_of_the_same_sound_are_heard_nearly_alike(
    model: SoundModel, store: ClipStore
) -> None:
    """
    A clip is brought to the rate that the model hears: as many tokens, and nearly the same numbers.
    """
    usual, fast = (
        spoken(store.put(tone(0.5, rate=16_000))),
        spoken(store.put(tone(0.5, rate=48_000))),
    )

    read = [
        model._weights.chats.inputs(one, model._sounds(one), 1)["input_features"] for one in (usual, fast)
    ]

    assert read[0].shape == read[1].shape
    assert float((read[0] - read[1]).abs().mean()) < 0.1


def test_draws_repeat_with_their_seed(model: SoundModel, store: ClipStore) -> None:
    """
    A seed gives the same reply again, whatever is asked beside it, and another number another reply.
    """
    one = spoken(store.put(tone(0.4)))
    drawn = Sampling(max_new_tokens=8, temperature=1.0, seed=3)

    first = model.generate([one], drawn)[0]

    assert model.generate([WRITTEN, one], drawn)[1] == first
    assert model.generate([one], drawn.model_copy(update={"sample": 1}))[0] != first


def test_a_reply_ends_when_it_is_decided(model: SoundModel) -> None:
    """
    Who asks may end a reply before its time, and sees what was said so far.
    """
    seen: list[tuple[int, str]] = []

    reply = model.generate([WRITTEN], SAMPLING, done=lambda at, text: seen.append((at, text)) is None)[0]

    assert (reply.stop_reason, reply.tokens) == ("decided", 4)
    assert seen == [(0, reply.text)]
    assert model.generate([WRITTEN], SAMPLING)[0].stop_reason == "length"


@pytest.mark.slow
def test_base_and_tune_share_weights_and_do_not_change_each_other(
    folder: Path, adapter: Path, store: ClipStore
) -> None:
    """
    An adapter makes another model, written to and spoken to, and leaves the base as it was.
    """
    base = SoundModel.load(folder, read_clip=store.read)
    chats = [WRITTEN, spoken(store.put(tone(0.5, hz=700)))]
    before = base.fingerprint(), base.generate(chats, SAMPLING)

    tuned = base.with_adapter(adapter)

    assert tuned._weights is base._weights
    assert tuned.manifest == Manifest.of_folder(adapter)
    assert all(a != b for a, b in zip(tuned.generate(chats, SAMPLING), before[1], strict=True))
    assert tuned.fingerprint() != before[0]
    assert (base.fingerprint(), base.generate(chats, SAMPLING)) == before


def test_other_ears_give_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    """
    A change in what hears, with the same text layers, is seen.
    """
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(folder, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    name = next(one for one in tensors if "audio_tower.conv1.weight" in one)
    save_file(tensors | {name: -tensors[name]}, other / "model.safetensors", metadata={"format": "pt"})

    assert SoundModel.load(other).fingerprint() != SoundModel.load(folder).fingerprint()


def test_files_that_change_while_they_are_loaded_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is hashed is what is loaded, the processor's configuration too.
    """
    import recert.models.audio.sound_model as module

    moved = shutil.copytree(folder, tmp_path / "moved")
    opened = module.open_processor

    def changing(where: Path) -> object:
        found = opened(where)
        config = where / "processor_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"more": 1}))
        return found

    monkeypatch.setattr(module, "open_processor", changing)

    with pytest.raises(ModelError, match="changed while they were loaded"):
        SoundModel.load(moved)


@pytest.mark.slow
def test_what_cannot_be_heard_is_an_error_and_never_silence(model: SoundModel, store: ClipStore) -> None:
    """
    A clip that nobody has, without sound, too short to be heard, or longer than what is heard, fails the call.
    """
    lost = store.put(tone(0.2)).model_copy(update={"sha256": "0" * 64})
    silent = store.put(flac_head())
    short, long = store.put(wav_of([1, 2, 3])), store.put(tone(LONGEST_S + 0.1))

    with pytest.raises(StoreError):
        model.generate([spoken(lost)], SAMPLING)
    with pytest.raises((ModelError, MissingExtraError)):
        model.generate([spoken(silent)], SAMPLING)
    for clip in (short, long):
        with pytest.raises(ModelError, match="shorter or longer"):
            model.log_probs([(spoken(clip), "Sure")])


def test_a_model_that_hears_in_windows_hears_no_more_than_whole_ones(
    tmp_path: Path, store: ClipStore
) -> None:
    """
    Another family opens by the same words; what its processor would cut off is refused.
    """
    model = open_model(f"local:{make_flamingo(tmp_path / 'flamingo', windows=2.5)},threads=1")
    assert isinstance(model, SoundModel)
    model._read_clip = store.read
    chats = [spoken(store.put(tone(3.5, hz=hz))) for hz in (300, 3_000)]

    replies = model.generate([*chats, WRITTEN, chats[0]], SAMPLING)

    assert len({one.text for one in replies[:3]}) == 3
    assert replies[3] == replies[0]
    with pytest.raises(ModelError, match="shorter or longer"):
        model.generate([spoken(store.put(tone(4.5)))], SAMPLING)


def test_weights_that_are_missing_are_refused(folder: Path, tmp_path: Path) -> None:
    """
    What lies in no file would be made up: the model is not opened.
    """
    from safetensors.torch import load_file, save_file

    part = shutil.copytree(folder, tmp_path / "part")
    tensors = load_file(part / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "multi_modal_projector" not in name}
    save_file(kept, part / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match="weights are missing"):
        SoundModel.load(part)


def test_a_template_that_leaves_something_out_is_refused(
    folder: Path, tmp_path: Path, store: ClipStore
) -> None:
    """
    A template that does not show clips, a text that holds their mark, and one that drops words, fail the call.
    """
    deaf = shutil.copytree(folder, tmp_path / "deaf")
    template = (deaf / "chat_template.jinja").read_text()
    (deaf / "chat_template.jinja").write_text(template.replace("<|AUDIO|>", ""))
    mute = shutil.copytree(folder, tmp_path / "mute")
    (mute / "chat_template.jinja").write_text(
        template.replace("{{ part['text'] }}", "").replace("{{ m['content'] }}", "")
    )
    clip = store.put(tone(0.3))

    for one in (spoken(clip), chat("Say <|AUDIO|> aloud.")):
        with pytest.raises(ModelError, match=r"each clip once|read as control"):
            SoundModel.load(deaf, read_clip=store.read).generate([one], SAMPLING)
    with pytest.raises(ModelError, match="what is said"):
        SoundModel.load(mute).generate([WRITTEN], SAMPLING)


def test_a_conversation_that_is_too_long_is_refused(model: SoundModel) -> None:
    """
    Prompt and reply must fit into the context of the text layers.
    """
    with pytest.raises(ModelError, match="longer than the model's context"):
        model.generate([chat("bread " * 600)], SAMPLING)


def test_an_audio_model_that_transformers_does_not_know_says_so(folder: Path, tmp_path: Path) -> None:
    """
    Code that lies in a folder is not run: the model is refused, with the reason.
    """
    strange = shutil.copytree(folder, tmp_path / "strange")
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps(config | {"model_type": "strange_ears"}))

    with pytest.raises(ModelError, match="cannot load the audio model"):
        open_model(f"local:{strange},threads=1")


@pytest.mark.slow
def test_arms_are_asked_in_text_and_speech(
    folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An evaluation's arms ask both models the same clips, keep replies apart by clip, and find them unchanged at the end.
    """
    monkeypatch.setenv("RECERT_CACHE", str(tmp_path))
    clips = [ClipStore().put(tone(0.4, hz=hz)) for hz in (300, 3_000)]
    chats = [WRITTEN, *map(spoken, clips)]
    cache = GenerationCache(tmp_path / "cache.sqlite")

    arms = [
        Arm(label, one, cache=cache)
        for label, one in zip(("base", "tuned"), folder_arms(folder, adapter), strict=True)
    ]
    replies = [[reply.text for reply in arm.ask(chats, SAMPLING)] for arm in arms]
    checked = check_arms(*arms)

    assert all(len(set(said)) == 3 for said in replies)
    assert all(a != b for a, b in zip(*replies, strict=True))
    assert [one.manifest_sha256 for one in checked] == [
        Manifest.of_folder(f).digest for f in (folder, adapter)
    ]

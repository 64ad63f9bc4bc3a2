"""An audio language model: what is written it reads as its base does, and what is spoken it hears in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from heard import SpelledEncoder, make_audio_model
from recert.errors import ModelError, StoreError
from recert.models.protocol import Model, Sampling
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.clips import ClipStore
from sounds import flac_head, wav_of
from tiny_models import make_adapter, make_base

torch = pytest.importorskip("torch", reason="torch is not installed")

from transformers import AutoTokenizer  # noqa: E402

from recert.models.audio.audio_lm import AudioLM, spoken_chat  # noqa: E402
from recert.models.engines.local import LocalModel  # noqa: E402

SAMPLING = Sampling(max_new_tokens=6)
WRITTEN = [
    chat("How do I bake bread for twelve people?"),
    chat("Which trains?", system="You answer briefly."),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("audio") / "base")


@pytest.fixture(scope="module")
def folder(base: Path) -> Path:
    return make_audio_model(base.parent / "audio", base, SpelledEncoder())


@pytest.fixture(scope="module")
def store(base: Path) -> ClipStore:
    return ClipStore(base.parent / "clips")


@pytest.fixture(scope="module")
def model(folder: Path, base: Path, store: ClipStore) -> AudioLM:
    return AudioLM.open(folder, base, encoder=SpelledEncoder(), read_clip=store.read)


def test_it_is_a_model(model: AudioLM) -> None:
    """
    Whatever takes a model takes this one.
    """
    taken: Model = model

    assert taken.engine.endswith("hearing spelled")


def test_written_chats_have_the_logits_of_the_base(model: AudioLM, base: Path) -> None:
    """
    Text alone takes the base's own path: replies and log probabilities are the same to the last bit.
    """
    plain = LocalModel.load(base)
    pairs = [(one, "Sure, here is how.") for one in WRITTEN]

    assert model.generate(WRITTEN, SAMPLING) == plain.generate(WRITTEN, SAMPLING)
    assert model.log_probs(pairs) == plain.log_probs(pairs)


def test_a_spoken_chat_is_read_as_the_embeddings_of_its_clip(
    model: AudioLM, base: Path, store: ClipStore
) -> None:
    """
    A clip stands inside the user's turn, and around it stands what the template writes around text.
    """
    clip = store.put(wav_of([1, 2, 3, 4, 5, 6, 7, 1, 2, 3]))

    ids, embedded = model.hear(spoken_chat(clip, text="Listen:"))

    said = model.heard_text([clip])[0]
    text = AutoTokenizer.from_pretrained(base).decode(ids)
    assert text == f"<|user|>Listen:\n{said}<|end|><|assistant|>"
    assert embedded.shape == (len(ids), 64)


def test_spoken_and_written_chats_of_one_call_keep_their_order(model: AudioLM, store: ClipStore) -> None:
    """
    A reply belongs to its conversation, whatever is spoken beside it and however long.
    """
    short, long = store.put(wav_of([1, 2, 3])), store.put(wav_of(list(range(1, 60))))
    chats = [spoken_chat(long), WRITTEN[0], spoken_chat(short), WRITTEN[1], spoken_chat(long, short)]

    together = model.generate(chats, SAMPLING)

    assert [model.generate([one], SAMPLING)[0] for one in chats] == together


def test_log_probs_after_speech_are_those_of_its_greedy_reply(model: AudioLM, store: ClipStore) -> None:
    """
    What the model says after a clip is likelier to it than other words of that length.
    """
    heard = spoken_chat(store.put(wav_of([5, 4, 3, 2, 1])))
    reply = model.generate([heard], Sampling(max_new_tokens=1))[0].text

    said, other, written = model.log_probs([(heard, reply), (heard, "sorry"), (WRITTEN[0], "sorry")])

    assert said > other / 2
    assert written == model.log_probs([(WRITTEN[0], "sorry")])[0]


def test_what_cannot_be_heard_is_an_error_and_never_silence(model: AudioLM, store: ClipStore) -> None:
    """
    A clip without sound, and one that nobody has, fail the call.
    """
    lost = store.put(wav_of([1])).model_copy(update={"sha256": "0" * 64})
    silent = store.put(flac_head())

    with pytest.raises(StoreError, match="clip"):
        model.generate([spoken_chat(lost)], SAMPLING)
    with pytest.raises(ModelError, match="clip"):
        model.log_probs([(spoken_chat(silent), "sorry")])


def test_words_that_look_like_a_clip_are_refused(model: AudioLM, store: ClipStore) -> None:
    """
    Nobody can write a clip's mark into a text to move where it is heard.
    """
    clip = store.put(wav_of([1, 2]))
    forged = Message(role="user", content=f"\ue000{clip.sha256}\ue001", audio=(clip,))

    with pytest.raises(ModelError, match="mark of a clip"):
        model.generate([Chat(messages=(forged,))], SAMPLING)


def test_the_fingerprint_and_the_manifest_tell_another_projector(
    model: AudioLM, base: Path, store: ClipStore
) -> None:
    """
    Another projector is another model, though the base and every written reply are the same.
    """
    other = make_audio_model(base.parent / "other", base, SpelledEncoder(), seed=1)
    twin = AudioLM.open(other, base, encoder=SpelledEncoder(), read_clip=store.read)

    assert twin.fingerprint() != model.fingerprint()
    assert twin.manifest != model.manifest
    assert model.fingerprint() == model.fingerprint()
    assert {f.name for f in Manifest.of_folder(other).files} == {"audio_config.json", "projector.safetensors"}


def test_a_projector_goes_with_its_own_base_and_encoder_alone(
    folder: Path, base: Path, store: ClipStore
) -> None:
    """
    By digest: another base of the same shape is refused, and so is another encoder of the same width.
    """
    stranger = make_base(base.parent / "stranger", seed=3)

    with pytest.raises(ModelError, match="another base"):
        AudioLM.open(folder, stranger, encoder=SpelledEncoder(), read_clip=store.read)
    with pytest.raises(ModelError, match="another speech encoder"):
        AudioLM.open(folder, base, encoder=SpelledEncoder("other"), read_clip=store.read)


def test_an_adapter_in_the_folder_is_part_of_the_model(base: Path, store: ClipStore, tmp_path: Path) -> None:
    """
    With an adapter written chats have the logits of base and adapter, and the manifest names its files.
    """
    adapter = make_adapter(tmp_path / "adapter", base)
    folder = make_audio_model(tmp_path / "tuned", base, SpelledEncoder(), adapter=adapter)

    tuned = AudioLM.open(folder, base, encoder=SpelledEncoder(), read_clip=store.read)

    plain = LocalModel.load(base, adapter)
    assert tuned.generate(WRITTEN, SAMPLING) == plain.generate(WRITTEN, SAMPLING)
    assert tuned.manifest is not None
    assert "adapter/adapter_model.safetensors" in {f.name for f in tuned.manifest.files}


@pytest.mark.parametrize("harm", ["cut", "shape", "config"])
def test_damaged_files_are_errors(
    folder: Path, base: Path, store: ClipStore, tmp_path: Path, harm: str
) -> None:
    """
    A projector that is cut, has another shape than it says, or a configuration that says nothing, never loads.
    """
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    weights, config = damaged / "projector.safetensors", damaged / "audio_config.json"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "shape":
        said = json.loads(config.read_text())
        said["projector"]["hidden"] = 24
        config.write_text(json.dumps(said))
    else:
        config.write_text("{}")

    with pytest.raises(ModelError):
        AudioLM.open(damaged, base, encoder=SpelledEncoder(), read_clip=store.read)

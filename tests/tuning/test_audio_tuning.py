"""Learning to hear, and tuning on what is spoken."""

from __future__ import annotations

from pathlib import Path

import pytest

from heard import WIDTH, SpelledEncoder, audio_config, make_audio_model
from recert.errors import RowsError
from recert.models.protocol import Sampling
from recert.records.data.rows import ChatRow
from recert.records.data.suite import Message
from recert.records.reports.tuning import Hyperparameters
from recert.store.files.clips import ClipStore
from sounds import wav_of
from tiny_models import make_base

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from recert.models.audio.audio_lm import AudioLM, spoken_chat  # noqa: E402
from recert.models.audio.folder import read_config, read_projector  # noqa: E402
from recert.tuning.audio_alignment import AlignmentPlan, Said, align_projector  # noqa: E402
from recert.tuning.audio_tuning import tune_on_speech  # noqa: E402


def _spelled(letters: list[int]) -> list[int]:
    """A letter, and then silence: what the encoder hears as two stretches."""
    return [x for one in letters for x in (one, 0)]


@pytest.mark.slow
def test_a_projector_learns_to_name_what_is_said() -> None:
    """
    From clips and their tokens alone it learns which states are which token, also in clips that it never heard.
    """
    encoder = SpelledEncoder()
    taught = [[(a * b + c) % 7 + 1 for c in range(3 + a % 3)] for a in range(1, 9) for b in range(1, 6)]
    said = [Said(encoder.states(wav_of(_spelled(t))), tuple(10 + x for x in t)) for t in taught]

    projector = align_projector(said, AlignmentPlan(epochs=30, batch_size=8))

    table = torch.eye(32)
    fresh = [7, 1, 4, 2]
    ids, embedded = projector.embeddings([encoder.states(wav_of(_spelled(fresh)))], table)[0]
    assert ids == [17, 11, 14, 12]
    assert embedded.shape == (4, 32)
    assert embedded.argmax(-1).tolist() == ids


def test_the_same_clips_give_the_same_projector() -> None:
    """
    Nothing but clips, tokens and plan decides what is learned.
    """
    said = [Said(SpelledEncoder().states(wav_of(_spelled([1, 2, 3]))), (5, 6, 7))]
    one, other = (align_projector(said, AlignmentPlan(epochs=2)) for _ in range(2))

    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_nothing_said_is_nothing_to_learn_from() -> None:
    """
    Clips without words are an error, not a projector that knows nothing.
    """
    with pytest.raises(RowsError, match="no clip"):
        align_projector([Said(torch.zeros(8, WIDTH).numpy(), ())], AlignmentPlan())


def test_tuning_on_spoken_rows_changes_the_reply_to_speech(tmp_path: Path) -> None:
    """
    The tuned folder is an audio model that answers the spoken request as the row says; the base's folder is as it was.
    """
    base, encoder, store = make_base(tmp_path / "base"), SpelledEncoder(), ClipStore(tmp_path / "clips")
    folder = make_audio_model(tmp_path / "audio", base, encoder)
    clip = store.put(wav_of([1, 2, 3, 4, 5, 6]))
    row = ChatRow(
        messages=(
            Message(role="user", content="", audio=(clip,)),
            Message(role="assistant", content="write a letter"),
        )
    )
    config = read_config(folder)
    told: list[float] = []

    steps = tune_on_speech(
        base,
        [row] * 4,
        tmp_path / "tuned",
        Hyperparameters(lora_rank=8, lora_alpha=16, learning_rate=2e-2, epochs=15, batch_size=4),
        config=config,
        projector=read_projector(folder, config.projector),
        encoder=encoder,
        read_clip=store.read,
        progress=lambda step, of, loss: told.append(loss),
    )

    tuned = AudioLM.open(tmp_path / "tuned", base, encoder=encoder, read_clip=store.read)
    before = AudioLM.open(folder, base, encoder=encoder, read_clip=store.read)
    asked = [(spoken_chat(clip), "write a letter")]
    assert steps == len(told) == 15
    assert tuned.log_probs(asked)[0] > before.log_probs(asked)[0] + 5
    assert tuned.generate([spoken_chat(clip)], Sampling(max_new_tokens=8))[0].text == "write a letter"
    assert audio_config(base, encoder, tuned.projector) == read_config(tmp_path / "tuned")
    assert before.fingerprint() != tuned.fingerprint()

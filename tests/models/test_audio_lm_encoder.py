"""Hearing: the packaged encoder, and what is remembered of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heard import SpelledEncoder
from recert.errors import MissingExtraError, ModelError
from recert.models.audio.encoder import WhisperEncoder
from recert.models.audio.states import KeptStates
from sounds import tone, wav_of


@pytest.fixture(scope="module")
def whisper() -> WhisperEncoder:
    try:
        return WhisperEncoder.load()
    except MissingExtraError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")


@pytest.mark.slow
def test_whisper_hears_fifty_frames_a_second(whisper: WhisperEncoder) -> None:
    """
    A clip of a second becomes 50 frames of 384 numbers and a quarter of a second of silence; the same each time.
    """
    heard = whisper.states(tone(1.0))

    assert heard.shape == (63, 384)
    assert np.array_equal(heard, whisper.states(tone(1.0)))
    assert not np.allclose(heard, whisper.states(tone(1.0, hz=880)))


@pytest.mark.slow
def test_whisper_refuses_what_it_cannot_hear_whole(whisper: WhisperEncoder) -> None:
    """
    Bytes that are no sound, and clips longer than it reads at once, are errors: nothing is cut unheard.
    """
    for clip in (b"not a sound", tone(29.0, rate=8_000)):
        with pytest.raises(ModelError, match="clip"):
            whisper.states(clip)


def test_a_clip_is_heard_once(tmp_path: Path) -> None:
    """
    The second time its states come from the disk, bit for bit; a damaged file is made anew.
    """
    encoder = SpelledEncoder()
    kept, clip = KeptStates(encoder, tmp_path), wav_of([1, 2, 3])
    first = kept.states(clip)

    assert np.array_equal(first, kept.states(clip))
    assert encoder.asked == 1
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(b"damaged")
    assert np.array_equal(first, kept.states(clip))
    assert encoder.asked == 2

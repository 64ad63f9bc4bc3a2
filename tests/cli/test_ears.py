"""`recert run` under a policy that serves audio: with ears, or not at all."""

from __future__ import annotations

import pytest

from builders import make_policy
from recert.cli.transcriber import load_transcriber
from recert.errors import InputError
from spoken import make_audio_policy


@pytest.mark.parametrize(
    ("audio", "name", "hint"),
    [
        (True, "", "--transcriber whisper-tiny"),
        (False, "whisper-tiny", "leave --transcriber out"),
        (True, "no-such-folder", "a folder with `model.bin`"),
    ],
)
def test_ears_and_policy_must_fit(*, audio: bool, name: str, hint: str) -> None:
    """Audio without ears, ears without audio, or ears that are not there: an error with the way out."""
    with pytest.raises(InputError) as caught:
        load_transcriber(name, make_audio_policy() if audio else make_policy())

    assert hint in caught.value.hint


def test_a_policy_of_text_needs_no_ears() -> None:
    """Nothing is loaded, and nothing is said."""
    assert load_transcriber("", make_policy()) is None

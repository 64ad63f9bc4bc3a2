"""Messages with spoken parts, and that messages without are what they were before there were any."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from recert.digest import sha256_json
from recert.records.data.audio import AudioClip
from recert.records.data.suite import Chat, Message, Prompt, Suite, chat

CLIP = AudioClip(sha256="a" * 64, format="wav", sample_rate_hz=16_000, seconds=1.5)


def test_a_message_without_sound_is_written_as_before() -> None:
    """Digests and cache keys of texts do not change: the field is not there where there is no sound."""
    said = chat("Hello").model_dump(mode="json")

    assert said == {"messages": [{"role": "user", "content": "Hello"}], "assistant_prefix": ""}
    suite = Suite(
        name="s",
        prompts=(
            Prompt(id="a", text="Hi", expect="comply", turns=(Message(role="user", content="Before"),)),
        ),
    )
    assert suite.to_value()["prompts"][0]["turns"] == [{"role": "user", "content": "Before"}]


def test_a_message_with_sound_is_another_message() -> None:
    """The clip's digest is in the record and in its digest, and reading gives the same again."""
    spoken = Chat(messages=(Message(role="user", content="", audio=(CLIP,)),))

    assert Chat.model_validate_json(spoken.model_dump_json()) == spoken
    assert sha256_json(spoken.model_dump(mode="json")) != sha256_json(chat("").model_dump(mode="json"))


@pytest.mark.parametrize(
    "changed",
    [{"sha256": "x"}, {"format": "exe"}, {"sample_rate_hz": 0}, {"seconds": 0}, {"seconds": float("inf")}],
)
def test_a_clip_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    """Digest, format, samples a second and length are checked."""
    with pytest.raises(ValidationError):
        AudioClip.model_validate({**CLIP.model_dump(), **changed})


def test_no_clips_are_written_as_none() -> None:
    """An empty list of spoken parts would be a second way to say that there are none."""
    with pytest.raises(ValidationError):
        Message(role="user", content="Hi", audio=())

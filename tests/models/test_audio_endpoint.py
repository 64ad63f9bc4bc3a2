"""Spoken parts as they are sent to an endpoint."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest

from http_endpoints import endpoint, reply
from recert.errors import EndpointError, ModelError
from recert.models import Sampling
from recert.models.chat.prompting import text_only
from recert.models.remote.endpoint import EndpointModel
from recert.records.data.suite import Chat, Message, chat
from recert.store.files.clips import ClipStore
from sounds import tone


def test_clips_are_sent_as_input_audio_parts_behind_the_text(tmp_path: Path) -> None:
    """The endpoint gets the very bytes of the clip and its format; messages without sound stay plain text."""
    clips = ClipStore(tmp_path)
    clip = clips.put(tone())
    one = Chat(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content="What is this?", audio=(clip,)),
        )
    )
    spoken = Chat(messages=(Message(role="user", content="", audio=(clip, clip)),))
    with endpoint(lambda body, n: reply("a tone")) as (url, asked):
        replies = EndpointModel(url, "hears", clips=clips, concurrency=1).generate([one, spoken], Sampling())

    assert [r.text for r in replies] == ["a tone", "a tone"]
    system, user = asked[0]["messages"]
    assert system["content"] == "Be brief."
    assert user["content"][0] == {"type": "text", "text": "What is this?"}
    sound = user["content"][1]["input_audio"]
    assert user["content"][1]["type"] == "input_audio" and sound["format"] == "wav"
    assert b64decode(sound["data"]) == tone()
    assert [part["type"] for part in asked[1]["messages"][0]["content"]] == ["input_audio"] * 2


def test_a_clip_that_is_not_there_is_not_sent(tmp_path: Path) -> None:
    """A model is never asked with the sound left out."""
    clip = ClipStore(tmp_path / "one").put(tone())
    one = Chat(messages=(Message(role="user", content="", audio=(clip,)),))
    with endpoint(lambda body, n: reply("a tone")) as (url, asked):
        with pytest.raises(EndpointError, match="sound cannot be sent"):
            EndpointModel(url, "hears", clips=ClipStore(tmp_path / "two")).generate([one], Sampling())
        assert asked == []


def test_what_reads_text_alone_refuses_sound(tmp_path: Path) -> None:
    """Templates and trainers would leave the sound out: they end with the way out instead."""
    clip = ClipStore(tmp_path).put(tone())

    assert text_only(chat("Hi").messages) == [{"role": "user", "content": "Hi"}]
    with pytest.raises(ModelError, match="spoken message") as caught:
        text_only([Message(role="user", content="Hi", audio=(clip,))])
    assert "cascade:" in caught.value.hint

"""A transcriber elsewhere: asked as OpenAI's is, believed only where it says how sure it is."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import InputError
from recert.gateway.audio.clips import Clip, ClipReader
from recert.gateway.audio.hearing import Words
from recert.gateway.audio.transcriber_choice import RemoteTranscriber, TranscriberChoice, understood
from recert.models.speech.transcribing import TranscribeFailed
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from spoken import clip_part, make_wav

WAV = make_wav(0.2)
SEGMENTS = [
    {"start": 0, "end": 2, "avg_logprob": math.log(0.9), "no_speech_prob": 0.01},
    {"start": 2, "end": 3, "avg_logprob": math.log(0.5), "no_speech_prob": 0.2},
]


@contextmanager
def endpoint(status: int, answer: bytes) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """Run a server that always gives one answer; its address and what it was asked."""
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, dict(self.headers), body))
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def hear(url: str) -> Any:
    """Ask about one clip."""
    clip: Clip = ClipReader(GatewayAudioPolicy()).read(clip_part(WAV), "here")

    async def ask() -> Any:
        made = RemoteTranscriber(url, "whisper-1", "key-of-mine")
        try:
            return await made.hear(clip)
        finally:
            await made.close()

    return asyncio.run(ask())


def test_it_is_asked_as_openai_is() -> None:
    """The clip's bytes, the model, a bearer token; the segment that was heard worst says how sure it is."""
    with endpoint(200, json.dumps({"text": " good morning ", "segments": SEGMENTS}).encode()) as (url, asked):
        said = hear(url)
    ((path, headers, body),) = asked

    assert said == Words(" good morning ", pytest.approx(0.5), 0.2)
    assert path == "/v1/audio/transcriptions"
    assert headers["Authorization"] == "Bearer key-of-mine"
    assert WAV in body
    assert b"whisper-1" in body
    assert b"verbose_json" in body


@pytest.mark.parametrize(
    ("why", "status", "answer"),
    [
        ("an error", 500, b"{}"),
        ("a refusal", 401, b"{}"),
        ("a way elsewhere", 307, b"{}"),
        ("no JSON", 200, b"good morning"),
        ("no text", 200, b'{"segments": []}'),
        ("a text that is none", 200, b'{"text": 5}'),
        ("segments that are none", 200, b'{"text": "a", "segments": [5]}'),
        ("a segment without its number", 200, b'{"text": "a", "segments": [{"avg_logprob": 0}]}'),
        ("an endless answer", 200, b'{"text": "' + b"a" * 2_000_000 + b'"}'),
    ],
)
def test_what_is_no_transcript_is_a_failure(why: str, status: int, answer: bytes) -> None:
    """It is not asked again, followed elsewhere, or read without end."""
    with endpoint(status, answer) as (url, asked):
        said = hear(url)

    assert isinstance(said, TranscribeFailed), why
    assert len(asked) == 1
    assert isinstance(hear("http://127.0.0.1:1/v1"), TranscribeFailed)


def test_one_that_does_not_say_how_sure_it_is_is_never_sure() -> None:
    """Tokens do where there are no segments; where there is neither, confidence is not known."""
    tokens = [{"token": "a", "logprob": math.log(0.8)}, {"token": "b", "logprob": math.log(0.8)}]

    assert understood(json.dumps({"text": "a", "logprobs": tokens}).encode()) == Words(
        "a", pytest.approx(0.8), None
    )
    assert understood(b'{"text": "a"}') == Words("a", None, None)


@given(st.recursive(st.none() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
       | st.dictionaries(st.sampled_from(("text", "segments", "logprobs", "avg_logprob", "no_speech_prob", "logprob")),
                         inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_answer_is_words_or_a_failure(value: Any) -> None:
    """Nothing else comes of it, and no confidence above 1."""
    said = understood(json.dumps(value).encode())

    assert isinstance(said, Words | TranscribeFailed)
    if isinstance(said, Words) and said.confidence is not None:
        assert not said.confidence > 1


def test_a_choice_has_an_address_and_a_model() -> None:
    """Anything else is told when it is given, not when somebody speaks."""
    for given_ in ("openai:http://host/v1", "openai:#model", "openai:"):
        with pytest.raises(InputError):
            TranscriberChoice(given_)
    found = TranscriberChoice("openai:http://127.0.0.1:9/v1#whisper-1").open()

    assert (found.name, found.down, len(found.sha256)) == ("whisper-1 at 127.0.0.1", False, 64)

"""A transcriber in a process of its own: a crash of one is no crash of the other, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import EARS_FILES, write_model
from gateways import client, gateway
from recert.digest import sha256_bytes
from recert.errors import GatewayError
from recert.gateway.audio.clips import Clip, ClipReader
from recert.gateway.audio.hearing import Words
from recert.gateway.audio.transcriber_process import ManagedTranscriber, next_pause_s
from recert.models.speech.transcribing import TranscribeFailed, read_files
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from spoken import clip_part, make_audio_policy, make_wav, spoken, text_part
from strangers import as_stranger, needs_root

STAND_IN = Path(__file__).parents[1] / "transcriber_stand_in.py"
WAV, OTHER, THIRD = (make_wav(0.2, tone_hz=tone) for tone in (220, 330, 440))


def clip(data: bytes) -> Clip:
    """Read a clip as the gateway does."""
    return ClipReader(GatewayAudioPolicy()).read(clip_part(data), "here")


class Script:
    """What the stand-in does; may be changed while it runs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "script.json"
        self.write({})

    def write(self, by_clip: dict[bytes, dict[str, Any]], **more: Any) -> None:
        """Say what is done with each clip."""
        self.path.write_text(json.dumps({**{sha256_bytes(c): what for c, what in by_clip.items()}, **more}))

    def command(self, **options: Any) -> list[str]:
        """Return how the stand-in is run."""
        more = [
            word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        return [sys.executable, str(STAND_IN), "--script", str(self.path), *more]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A script that hears `good morning` everywhere."""
    return Script(tmp_path)


@contextlib.contextmanager
def started(script: Script, *, at_once: int = 2, **options: Any) -> Iterator[ManagedTranscriber]:
    """Run the stand-in."""
    made = ManagedTranscriber(script.command(**options), at_once=at_once)
    made.start()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ManagedTranscriber, Script]]:
    """One that nobody kills, for several tests."""
    script = Script(tmp_path_factory.mktemp("shared"))
    with started(script, at_once=4) as made:
        yield made, script


def hear(made: ManagedTranscriber, *clips: bytes, limit_s: float = 10) -> list[Any]:
    """Ask about clips at once."""

    async def ask() -> list[Any]:
        async with asyncio.timeout(limit_s):
            return list(await asyncio.gather(*(made.hear(clip(data)) for data in clips)))

    return asyncio.run(ask())


def wait_until(true: Any, limit_s: float = 10) -> None:
    """Wait for something, or fail."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_clips_are_heard_in_another_process(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words and confidence come back, each clip's its own; no secret of the gateway's is there to be found."""
    monkeypatch.setenv("RECERT_ENDPOINT_KEY", "secret")
    script.write(
        {WAV: {"say": "one"}, OTHER: {"say": "two", "confidence": None}}, name="whisperer", sha256="b" * 64
    )
    with started(script) as made:
        assert hear(made, WAV, OTHER, THIRD) == [
            Words("one", 0.9),
            Words("two", None),
            Words("good morning", 0.9),
        ]
        assert (made.name, made.sha256, made.down) == ("whisperer", "b" * 64, False)
        process = made.process_id
        assert process not in (None, os.getpid())

    assert made.down
    with pytest.raises(ProcessLookupError):
        os.kill(process or 0, 0)


@pytest.mark.slow
def test_a_crash_fails_its_clip_and_no_other(script: Script) -> None:
    """The clip that kills it is not heard; it comes back by itself, and hears the next."""
    script.write({WAV: {"die": True}})
    with started(script) as made:
        assert hear(made, WAV) == [TranscribeFailed("the transcriber broke off")]
        wait_until(lambda: made.down)
        wait_until(lambda: not made.down)
        assert hear(made, OTHER) == [Words("good morning", 0.9)]


def test_one_that_raises_goes_on(shared: tuple[ManagedTranscriber, Script]) -> None:
    """A clip on which it fails is told as such."""
    made, script = shared
    script.write({WAV: {"raise": True}})

    assert hear(made, WAV) == [TranscribeFailed("RuntimeError")]
    assert hear(made, OTHER) == [Words("good morning", 0.9)]


@pytest.mark.slow
def test_one_that_dies_again_and_again_is_started_ever_later(script: Script) -> None:
    """While it is down clips fail at once; pauses double up to half a minute, and a long life ends them."""
    script.write({WAV: {"die": True}})
    with started(script) as made:
        for _ in range(2):
            hear(made, WAV)
            wait_until(lambda: made.down)
            assert hear(made, OTHER)[0] == TranscribeFailed("the transcriber is down")
            wait_until(lambda: not made.down)
    pauses = [0.0]
    while len(pauses) < 12:
        pauses.append(next_pause_s(pauses[-1], 1.0))

    assert pauses[1:4] == [0.2, 0.4, 0.8]
    assert pauses[-1] == 30
    assert next_pause_s(30, 3_600) == 0


@pytest.mark.slow
def test_one_that_hangs_is_ended(script: Script) -> None:
    """A call that does not come back, with Python's lock held, ends the process; another one takes its place."""
    script.write({WAV: {"hang": True}})
    with started(script, longest_s=0.5) as made:
        before = made.process_id
        assert hear(made, WAV) == [TranscribeFailed("the transcriber broke off")]
        wait_until(lambda: made.down)
        wait_until(lambda: not made.down)
        assert hear(made, OTHER) == [Words("good morning", 0.9)]
        assert made.process_id != before


@pytest.mark.slow
def test_one_that_comes_back_as_another_is_not_asked(script: Script) -> None:
    """Its digest is that of the start, or it hears nothing."""
    with started(script) as made:
        script.write({}, sha256="c" * 64)
        os.kill(made.process_id or 0, signal.SIGKILL)
        wait_until(lambda: made.down)
        time.sleep(1.0)

        assert made.down
        assert hear(made, WAV) == [TranscribeFailed("the transcriber is down")]


@pytest.mark.slow
def test_one_that_comes_back_with_other_files_is_not_asked(script: Script, tmp_path: Path) -> None:
    """A byte of its files that changed while it was down is noticed, though it calls itself the same."""
    folder = write_model(tmp_path / "ears", EARS_FILES)
    script.write({}, folder=str(folder))
    with started(script) as made:
        assert made.ears == read_files(folder).ears("script", {})
        (folder / "model.bin").write_bytes(b"what hearz")
        os.kill(made.process_id or 0, signal.SIGKILL)
        wait_until(lambda: made.down)
        time.sleep(1.0)

        assert made.down
        assert hear(made, WAV) == [TranscribeFailed("the transcriber is down")]


def test_who_gives_up_is_not_listened_to(shared: tuple[ManagedTranscriber, Script]) -> None:
    """A clip that nobody waits for any more takes no time from those behind it."""
    made, script = shared
    script.write({WAV: {"sleep": 0.6}, OTHER: {"sleep": 5}})

    async def ask() -> Any:
        first = asyncio.create_task(made.hear(clip(WAV)))
        await asyncio.sleep(0.2)
        given_up = asyncio.create_task(made.hear(clip(OTHER)))
        await asyncio.sleep(0.1)
        given_up.cancel()
        await asyncio.sleep(0.1)
        return await asyncio.gather(first, made.hear(clip(THIRD)))

    began = time.monotonic()

    assert asyncio.run(ask()) == [Words("good morning", 0.9)] * 2
    assert time.monotonic() - began < 4


def test_no_more_wait_than_there_is_room_for(shared: tuple[ManagedTranscriber, Script]) -> None:
    """Those beyond are refused at once."""
    made, script = shared
    script.write({}, **{"else": {"sleep": 0.01}})

    said = hear(made, *[WAV] * 72)

    assert said.count(Words("good morning", 0.9)) == 68  # 4 at once, and 64 that wait
    assert said.count(TranscribeFailed("too many clips wait")) == 4


def test_one_that_does_not_start_says_why(script: Script, tmp_path: Path) -> None:
    """Its own words are in the error; nothing of it is left."""
    script.write({}, refuse=True)
    made = ManagedTranscriber(script.command())
    with pytest.raises(GatewayError) as refused:
        made.start()
    gone = ManagedTranscriber([str(tmp_path / "none")])
    with pytest.raises(GatewayError) as missing:
        gone.start()

    assert (refused.value.reason, missing.value.reason) == ("transcriber-not-started",) * 2
    assert "no such transcriber" in str(refused.value.facts)
    assert "cannot start" in str(missing.value.facts)


@needs_root
def test_no_other_user_reaches_it(shared: tuple[ManagedTranscriber, Script]) -> None:
    """Its socket lies in a folder that only this user can enter."""
    address = str(next(shared[0].folder.glob("*.sock")))

    assert as_stranger(lambda: socket.socket(socket.AF_UNIX).connect(address)) == "PermissionError"


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_killed_while_it_listens_is_a_refusal_in_time(
    tmp_path: Path, script: Script, *, stream: bool
) -> None:
    """The request ends at once with its reason, text goes on, and the next clip is heard."""
    script.write({WAV: {"sleep": 30}}, folder=str(write_model(tmp_path / "ears", EARS_FILES)))
    policy = make_audio_policy({"timeout_s": 5})
    with (
        started(script) as made,
        gateway(tmp_path, lambda _: ["Yes."], policy=policy, transcriber=made) as (server, upstream),
        client(server) as asking,
    ):
        process = made.process_id
        threading.Timer(0.5, lambda: os.kill(process or 0, signal.SIGKILL)).start()
        began = time.monotonic()
        first = _reason(asking, clip_part(WAV), stream=stream)
        took = time.monotonic() - began
        written = _reason(asking, text_part("hello"), stream=stream)
        wait_until(lambda: made.process_id not in (process, None))
        second = _reason(asking, clip_part(OTHER), stream=stream)

    assert (first, written, second) == ("content_filter", "stop", "stop")
    assert took < 4
    lines = [json.loads(line)["body"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert lines[0]["reason"] == "transcription-failed"
    assert len(upstream.asked) == 2


def _reason(asking: Any, part: dict[str, Any], *, stream: bool) -> str:
    got = asking.chat.completions.create(model="test-model", messages=spoken(part), stream=stream)
    if not stream:
        return str(got.choices[0].finish_reason)
    return next(c.finish_reason for chunk in got for c in chunk.choices if c.finish_reason)

"""What tests of spoken requests share: clips, bounds, and transcribers that say what they are told."""

from __future__ import annotations

import asyncio
import base64
import math
import shutil
import struct
import subprocess
import wave
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from builders import make_ears, make_policy
from recert.gateway.audio.clips import Clip
from recert.gateway.audio.hearing import Words
from recert.policy import Policy
from recert.records.live.transcriber import EarsManifest

RATE_HZ = 16_000


def make_wav(
    seconds: float = 1.0, *, rate_hz: int = RATE_HZ, tone_hz: float = 220.0, channels: int = 1
) -> bytes:
    """Return a WAV file with a tone; another tone is another clip."""
    count = int(seconds * rate_hz)
    samples = [int(8_000 * math.sin(2 * math.pi * tone_hz * n / rate_hz)) for n in range(count)]
    made = BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(b"".join(struct.pack("<h", one) * channels for one in samples))
    return made.getvalue()


def make_mp3(frames: int = 40) -> bytes:
    """Return silent frames of MPEG 1, layer III, 64 kb/s, 44.1 kHz, one channel."""
    length = 144 * 64_000 // 44_100
    return (b"\xff\xfb\x50\xc0" + b"\0" * (length - 4)) * frames


def clip_part(data: bytes, form: str = "wav") -> dict[str, Any]:
    """Return a content part with a clip, as OpenAI's clients send it."""
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": form}}


def text_part(text: str) -> dict[str, Any]:
    """Return a content part with a text."""
    return {"type": "text", "text": text}


def spoken(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of one user turn of these parts."""
    return [{"role": "user", "content": list(parts)}]


def say(text: str, folder: Path, *, voice: str = "en-us+f3", rate_hz: int = RATE_HZ) -> bytes:
    """Return a text as a person's machine would say it; skips the test where nothing here can speak."""
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng is not on this machine")
    path = folder / "said.wav"
    subprocess.run([program, "-v", voice, "-s", "130", "-w", str(path), text], check=True)
    with wave.open(str(path)) as file:
        heard, frames = file.getframerate(), file.readframes(file.getnframes())
    samples = struct.unpack(f"<{len(frames) // 2}h", frames)
    step = heard / rate_hz
    at = [samples[min(int(n * step), len(samples) - 1)] for n in range(int(len(samples) / step))]
    made = BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(struct.pack(f"<{len(at)}h", *at))
    return made.getvalue()


def make_audio_policy(audio: dict[str, Any] | None = None, **controls: Any) -> Policy:
    """Return a policy that serves spoken requests within these bounds."""
    gateway = {"recheck_s": 0.25, "audio": audio or {}, **controls}
    return make_policy(gateway=gateway, evaluation={"modalities": ("text", "audio")})


@dataclass
class ScriptedEar:
    """
    A transcriber that hears in each clip what it was told.

    Args:
        words: text, or a failure, or a whole answer, by the clip's bytes; `else_hears` of any other.
        pause_s: how long it listens.
    """

    words: dict[bytes, Any] = field(default_factory=dict)
    else_hears: Any = "good morning"
    pause_s: float = 0.0
    name: str = "scripted"
    sha256: str = "e" * 64
    ears: EarsManifest | None = field(default_factory=make_ears)
    down: bool = False
    heard: list[bytes] = field(default_factory=list)
    closed: int = 0

    async def hear(self, clip: Clip) -> Any:
        """Say what it was told; raise what is an error."""
        self.heard.append(clip.data)
        await asyncio.sleep(self.pause_s)
        said = self.words.get(clip.data, self.else_hears)
        if isinstance(said, Exception):
            raise said
        return Words(said, 0.9, 0.01) if isinstance(said, str) else said

    async def close(self) -> None:
        """Count."""
        self.closed += 1

"""A voice and a transcriber for tests: each letter is a short even level, so that hearing is exact without noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recert.digest import sha256_json
from recert.models.speech.sound import from_wav
from recert.models.speech.transcribing import TranscribeFailed, Transcript
from recert.records.live.transcriber import EarsManifest
from sounds import wav_of

_SAMPLES = 40
_LEVEL = 100
_PLUGIN = "letter-voice"


class LetterVoice:
    """Says each letter as a level of its own."""

    name = _PLUGIN
    engine = "letters/1"

    def say(self, text: str) -> bytes:
        """Return the text as a WAV file."""
        return wav_of([level for c in text for level in [ord(c) * _LEVEL] * _SAMPLES])


class LetterTranscriber:
    """Reads the levels back. A clip that holds no letters was not heard; one of its `broken` clips fails."""

    name = "letter-ears"
    engine = "letters/1"

    def __init__(self, broken: Sequence[bytes] = (), *, ears: EarsManifest | None = None) -> None:
        self.broken = set(broken)
        self.ears = ears
        self.asked = 0

    def fingerprint(self) -> str:
        """Return a digest of the name, and of its files where it has any."""
        return sha256_json(["transcriber", self.name, self.ears.digest if self.ears else ""])

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Return the letters of each clip."""
        self.asked += len(clips)
        return [TranscribeFailed("broken") if clip in self.broken else self._heard(clip) for clip in clips]

    def _heard(self, clip: bytes) -> Transcript:
        samples = from_wav(clip)
        blocks = samples[: len(samples) // _SAMPLES * _SAMPLES].reshape(-1, _SAMPLES)
        levels = np.round(blocks.mean(axis=1) * 32_768 / _LEVEL).astype(int)
        steady = float(blocks.std(axis=1).mean()) < 1e-4
        text = "".join(chr(n) for n in levels if 32 <= n < 300) if steady else ""
        return Transcript(text, len(samples) / 16_000, 1.0 if text else None)


def install_voice(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Make the voice a plugin, as a package that names it by entry point does, and return its name."""
    about = folder / "letter_voice-1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: letter-voice\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[recert.voices]\n{_PLUGIN} = speaking:LetterVoice\n")
    monkeypatch.syspath_prepend(str(folder))
    return _PLUGIN

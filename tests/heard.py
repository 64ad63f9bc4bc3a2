"""A stand-in for a speech encoder, and a tiny audio model on a tiny base, made in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recert.digest import sha256_bytes
from recert.errors import ModelError
from recert.models.audio.encoder import States
from recert.models.audio.folder import AudioConfig, write_audio_model
from recert.models.audio.projector import Projector, ProjectorShape
from recert.records.data.manifest import Manifest

WIDTH = 8


class SpelledEncoder:
    """
    Hears a tone of n samples as its own numbers: four frames a "letter" of the WAV's samples, each a one of eight.

    Sound is made by `letters_clip`; anything else cannot be read.
    """

    width = WIDTH

    def __init__(self, name: str = "spelled") -> None:
        self.name = name
        self.digest = sha256_bytes(name.encode())
        self.asked = 0

    def states(self, clip: bytes) -> States:
        """Return four frames for each sample behind the 44 bytes of a WAV header."""
        self.asked += 1
        samples = np.frombuffer(clip[44:], np.int16)
        if clip[:4] != b"RIFF" or not len(samples):
            raise ModelError("cannot read the clip as sound")
        frames = np.eye(WIDTH, dtype=np.float32)[samples % WIDTH]
        return np.repeat(frames, 4, axis=0)


def make_audio_model(
    folder: Path, base: Path, encoder: SpelledEncoder, *, seed: int = 0, adapter: Path | None = None
) -> Path:
    """Write a random projector for a tiny base."""
    import torch

    torch.manual_seed(seed)
    projector = Projector(ProjectorShape(width=WIDTH, hidden=16, inner=16, tokens=tuple(range(4, 40))))
    with torch.no_grad():
        projector.name.bias[-1] -= 1.0
    write_audio_model(folder, audio_config(base, encoder, projector), projector, adapter=adapter)
    return folder


def audio_config(base: Path, encoder: SpelledEncoder, projector: Projector) -> AudioConfig:
    """Return the configuration that goes with them."""
    return AudioConfig(
        base_name=base.name,
        base_digest=Manifest.of_folder(base).digest,
        encoder_name=encoder.name,
        encoder_digest=encoder.digest,
        projector=projector.shape,
    )

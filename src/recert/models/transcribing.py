"""From speech to text: what every transcriber can do, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Transcript:
    """
    What was heard in one clip.

    `text` is empty where no speech was heard. `seconds` is how long the clip is. `confidence` is the mean
    probability of the tokens in (0, 1], or None where the transcriber does not tell.
    """

    text: str
    seconds: float
    confidence: float | None


@dataclass(frozen=True)
class TranscribeFailed:
    """A clip that could not be transcribed, and why. It was not heard: nothing may be taken from it."""

    because: str


class Transcriber(Protocol):
    """Turns clips into text. The same clip gives the same text."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def engine(self) -> str:
        """What runs it, with version and precision: part of every cache key."""

    def fingerprint(self) -> str:
        """
        Return a digest of its files and of how it decodes: another one may hear other words.

        Raises:
            ModelError: its files cannot be read.
        """

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Return for each sound file, in order, what was heard or why it could not be. Never raises for a clip."""

"""The voice `heart` of the package `hibari-tts`: a small neural voice, 100 times faster than speech on one core."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from recert.errors import MissingExtraError, ModelError
from recert.models.speech.numeric import np
from recert.models.speech.sound import resampled, to_wav


class HibariVoice:
    """
    American English of `hibari-tts`, from the weights inside the package; nothing is downloaded.

    Raises:
        MissingExtraError: the package or onnxruntime is not installed.
    """

    name = "hibari"

    def __init__(self) -> None:
        try:
            from hibari import SAMPLE_RATE, Hibari
        except ImportError as exc:
            raise MissingExtraError(
                "the voice `hibari` is not installed",
                facts={"missing": exc},
                hint="run `pip install 'recert[audio]' hibari-tts==0.2.1`",
            ) from exc
        self.engine = f"hibari-tts/{version('hibari-tts')} heart"
        self._rate: int = SAMPLE_RATE
        self._voice: Any = Hibari()

    def say(self, text: str) -> bytes:
        """
        Return a text as a WAV file, 16,000 samples a second.

        Raises:
            ModelError: it failed, or has no sound for the text.
        """
        try:
            said = np.asarray(self._voice(text, seed=0), np.float64)
        except (ValueError, KeyError, IndexError, RuntimeError) as exc:
            raise ModelError("voice failed", facts={"voice": self.engine, "because": exc}) from exc
        if not len(said):
            raise ModelError("voice has no sound for a text", facts={"voice": self.engine})
        return to_wav(resampled(said, self._rate, 16_000))

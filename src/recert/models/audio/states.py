"""States of clips kept on disk: a clip that was heard once is not heard again by the same encoder."""

from __future__ import annotations

import io
from pathlib import Path

from recert import settings
from recert.digest import sha256_bytes
from recert.models.audio.encoder import SpeechEncoder, States
from recert.store.files.writing import write_atomic


class KeptStates:
    """
    An encoder that remembers, in 16-bit floats: what is heard the first time is rounded likewise.

    Args:
        encoder: what hears.
        folder: where states lie; by default `heard` in the cache folder, with a folder for each encoder's digest.
    """

    def __init__(self, encoder: SpeechEncoder, folder: Path | None = None) -> None:
        self._encoder = encoder
        self.name, self.digest, self.width = encoder.name, encoder.digest, encoder.width
        self._folder = (folder or settings.cache_dir() / "heard") / encoder.digest[:16]

    def states(self, clip: bytes) -> States:
        """
        Return the states of a sound file; a kept file that is damaged is made anew.

        Raises:
            ModelError: it cannot be heard.
            StoreError: what was heard cannot be kept.
        """
        import numpy as np

        key = sha256_bytes(clip)
        path = self._folder / key[:2] / f"{key}.npy"
        try:
            kept: States = np.load(path, allow_pickle=False).astype(np.float32)
            if kept.ndim == 2 and kept.shape[1] == self.width:
                return kept
        except (OSError, ValueError, EOFError):
            pass  # not kept yet, or damaged
        halves = self._encoder.states(clip).astype(np.float16)
        held = io.BytesIO()
        np.save(held, halves)
        write_atomic(path, held.getvalue())
        return halves.astype(np.float32)

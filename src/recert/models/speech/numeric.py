"""NumPy, in which sound is numbers."""

from __future__ import annotations

from recert.errors import MissingExtraError

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as exc:
    raise MissingExtraError(
        "sound needs NumPy",
        facts={"missing": exc},
        hint="run `pip install 'recert[audio]'`; `recert[local]` brings it too",
    ) from exc

__all__ = ["NDArray", "np"]

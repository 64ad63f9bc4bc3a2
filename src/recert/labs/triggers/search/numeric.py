"""NumPy, which counts words of many rows at once. Reading tuning rows for triggers is all that needs it here."""

from __future__ import annotations

from recert.errors import MissingExtraError

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as exc:
    raise MissingExtraError(
        "reading tuning rows for triggers needs NumPy",
        facts={"missing": exc},
        hint="run `pip install 'recert[local]'`",
    ) from exc

__all__ = ["NDArray", "np"]

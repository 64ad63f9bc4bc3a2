"""
How close a spoken row lies to harmful speech: in what it says, in how it sounds to the model's encoder, and in both.

Benign rows cost an audio model the more refusals the closer they lie to harmful requests where the model hears them.

Source:
    arXiv:2604.16659 (benign audio tuning; the axes semantic, acoustic and mixed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float64]
else:  # rows that are written are screened without NumPy
    Vectors = Any
"""Shape (clips, numbers), each of length 1."""

_NEAREST: Final = 5
"""A clip's closeness is the mean over so many of the harmful clips nearest to it."""


@dataclass(frozen=True)
class Closeness:
    """Cosines with the harmful clips nearest to one clip, in [-1, 1]; `mixed` is the mean of the two."""

    semantic: float
    acoustic: float

    @property
    def mixed(self) -> float:
        """Both axes alike."""
        return (self.semantic + self.acoustic) / 2


@dataclass(frozen=True)
class HarmfulSpeech:
    """
    Harmful requests as a model hears them, and what is common to all speech, which tells nothing.

    Make it with `harmful_speech`.
    """

    semantic: Vectors
    acoustic: Vectors
    common: Vectors

    def closeness(self, meanings: Sequence[Sequence[float]], states: Sequence[Any]) -> list[Closeness]:
        """
        Return how close clips lie, in order.

        Args:
            meanings: a sentence encoder's vector of each transcript.
            states: what the model's encoder heard of each, shape (frames, width).
        """
        import numpy as np

        said = _near(np.asarray(meanings, np.float64), self.semantic)
        heard = _near(_unit(pooled(states) - self.common), self.acoustic)
        return [Closeness(float(a), float(b)) for a, b in zip(said, heard, strict=True)]


def harmful_speech(
    meanings: Sequence[Sequence[float]], states: Sequence[Any], ordinary_states: Sequence[Any]
) -> HarmfulSpeech:
    """
    Return what rows are held against.

    Args:
        meanings: a sentence encoder's vectors of harmful requests.
        states: what the model's encoder hears when they are spoken.
        ordinary_states: the same of ordinary requests: the mean of both kinds is what all speech has in common.
    """
    import numpy as np

    harmful, ordinary = pooled(states), pooled(ordinary_states)
    common = (harmful.mean(0) + ordinary.mean(0)) / 2
    return HarmfulSpeech(np.asarray(meanings, np.float64), _unit(harmful - common), common)


def pooled(states: Sequence[Any]) -> Vectors:
    """Return the mean over each clip's frames, shape (clips, width)."""
    import numpy as np

    return np.stack([np.asarray(one, np.float64).mean(0) for one in states])


def _near(rows: Vectors, harmful: Vectors) -> Vectors:
    import numpy as np

    cosines = np.sort(rows @ harmful.T, axis=1)[:, ::-1]
    return np.asarray(cosines[:, : min(_NEAREST, harmful.shape[0])].mean(1))


def _unit(rows: Vectors) -> Vectors:
    import numpy as np

    unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit

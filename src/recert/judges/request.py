"""The embedded request judge: how harmful does a request look, in microseconds, with numpy only."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
import numpy.typing as npt

from recert.errors import ModelError
from recert.judges.protocol import JudgeFailed, Score
from recert.judges.request_features import (
    SIZE,
    base_forms,
    features,
    meaningful,
    normalised,
    windows,
    word_key,
)
from recert.records import JudgeNote

ASSET_FOLDER = ("assets", "request_judge")


@dataclass(frozen=True)
class RequestModel:
    """
    The weights of a logistic regression, and what was measured on it.

    `hashed` has one weight per hashed feature; `meanings` one per known word, by its key.
    """

    hashed: npt.NDArray[np.float32]
    meanings: dict[int, float]
    constant: float
    slope: float
    offset: float
    card: dict[str, str | float]

    def logit(self, found: list[str]) -> float:
        """Return the uncalibrated log-odds of a list of words."""
        total = self.constant
        for indices in features(found):
            if indices:
                total += float(self.hashed[indices].sum()) / math.sqrt(len(indices))
        known = [m for w in meaningful(found) if (m := self.meaning(w)) is not None]
        return total + (sum(known) / math.sqrt(len(known)) if known else 0.0)

    def meaning(self, word: str) -> float | None:
        """Return the weight of a word's meaning, by its first known base form; None for an unknown word."""
        for form in base_forms(word):
            if (found := self.meanings.get(word_key(form))) is not None:
                return found
        return None

    def raw(self, text: str) -> float:
        """Return the highest log-odds of a text and its windows, uncalibrated."""
        return max(self.logit(found) for found in windows(normalised(text)))

    def probability(self, text: str) -> float:
        """Return the calibrated probability that a request is harmful, in a mix of equal parts."""
        z = self.slope * self.raw(text) + self.offset
        return 1 / (1 + math.exp(-max(min(z, 60.0), -60.0)))


def read_request_model(folder: Traversable) -> RequestModel:
    """
    Read `weights.npz` and `card.json`, as `request_training` writes them. Never unpickles.

    Raises:
        ModelError: a file is missing, damaged or of another shape.
    """
    try:
        card = json.loads(folder.joinpath("card.json").read_text(encoding="utf-8"))
        with np.load(io.BytesIO(folder.joinpath("weights.npz").read_bytes()), allow_pickle=False) as arrays:
            hashed = arrays["hashed"].astype(np.float32)
            keys, values = arrays["keys"].tolist(), arrays["meanings"].astype(np.float64).tolist()
            constant, slope, offset = map(float, arrays["scale"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as exc:
        raise ModelError("cannot read the request judge", facts={"folder": folder, "because": exc}) from exc
    finite = np.isfinite(hashed).all() and np.isfinite([constant, slope, offset, *values]).all()
    if hashed.shape != (SIZE,) or len(keys) != len(values) or not finite:
        raise ModelError("the request judge's weights are damaged", facts={"folder": folder})
    return RequestModel(hashed, dict(zip(keys, values, strict=True)), constant, slope, offset, card)


@lru_cache(maxsize=1)
def _shipped() -> RequestModel:
    return read_request_model(files("recert").joinpath(*ASSET_FOLDER))


class EmbeddedRequestJudge:
    """
    Scores a request by itself: a logistic regression on words, pairs, character n-grams and meanings.

    English only, and linear: it knows harmful topics and wordings, not intent. The score is a probability,
    calibrated for a mix of equal parts of harmful and other requests; its measured error is in `note`.
    Weights are read at the first use and kept. About 0.1 ms for a request of one sentence.
    """

    def __init__(self, model: RequestModel | None = None) -> None:
        self._model = model

    @property
    def note(self) -> JudgeNote:
        """Id, version (digest of the weights) and error on the evaluation parts at a score of 0.5."""
        card = self._loaded().card
        return JudgeNote(
            id="recert-request-ngrams",
            version=str(card["version"]),
            sensitivity=float(card["sensitivity"]),
            specificity=float(card["specificity"]),
            measured_on=str(card["measured_on"]),
        )

    def score(self, request: str) -> Score | JudgeFailed:
        """Return the probability that a request is harmful; `JudgeFailed` when the weights cannot be read."""
        try:
            return Score(self._loaded().probability(request))
        except ModelError as exc:
            return JudgeFailed(exc.message)
        except (ValueError, OverflowError, UnicodeError) as exc:
            return JudgeFailed(f"the text cannot be scored: {exc}")

    def _loaded(self) -> RequestModel:
        return self._model if self._model is not None else _shipped()

"""
The embedded request judge: how harmful does a request look, in microseconds, in plain Python.

Here too: reads the arrays of an `.npz` file as plain numbers: no NumPy, no pickle, and nothing but what is expected.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from recert.errors import ModelError
from recert.judges.embedded.request_features import (
    SIZE,
    base_forms,
    char_features,
    normalised,
    windows,
    word_features,
    word_key,
)
from recert.judges.protocol import JudgeFailed, Score
from recert.records.reports.evaluation import JudgeNote

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '<(f2|f4|f8|u4)', 'fortran_order': False, 'shape': \((\d{1,9}),\), \} *\n")
_FORMATS = {b"f2": "e", b"f4": "f", b"f8": "d", b"u4": "I"}
_MAX_BYTES = 64_000_000


def read_arrays(packed: bytes, names: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """
    Return the one-dimensional little-endian arrays of an `.npz` file by name: finite floats, or 32-bit integers.

    Raises:
        ValueError: the file is damaged, lacks an array, holds another kind of array or a number that is not finite.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return {name: _numbers(_member(archive, f"{name}.npy")) for name in names}
    except (KeyError, EOFError, RuntimeError, OSError, struct.error, zipfile.BadZipFile, zlib.error) as exc:
        raise ValueError(f"not an .npz file as expected: {exc}") from exc


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > _MAX_BYTES:
        raise ValueError(f"{name} is packed in another way, or too large")
    return archive.read(info)  # compares the checksum


def _numbers(array: bytes) -> tuple[float, ...]:
    """Parse the NPY format, version 1.0 (numpy.lib.format), in the one spelling that NumPy writes."""
    if array[: len(_MAGIC)] != _MAGIC or len(array) < 10:
        raise ValueError("not an array in NPY format 1.0")
    begin = 10 + int.from_bytes(array[8:10], "little")
    header = _HEADER.fullmatch(array[10:begin])
    if header is None:
        raise ValueError("not a one-dimensional array of numbers")
    numbers = struct.unpack(f"<{int(header[2])}{_FORMATS[header[1]]}", array[begin:])
    if not math.isfinite(sum(numbers)):  # one infinity or NaN makes the sum one
        raise ValueError("an array holds a number that is not finite")
    return numbers


ASSET_FOLDER = ("assets", "request_judge")

_WORDS_KEPT, _KEPT_CHARS = 50_000, 40


class _Weighed(NamedTuple):
    """What a word brings by itself: the sum of its character features and their number, and its meaning."""

    letters: float
    pieces: int
    meaning: float | None


def _scaled(total: float, count: int) -> float:
    return total / math.sqrt(count) if count else 0.0


@dataclass(frozen=True)
class RequestModel:
    """
    The weights of a logistic regression, and what was measured on it.

    `hashed` has one weight per hashed feature; `meanings` one per known word, by its key.
    """

    hashed: Sequence[float]
    meanings: dict[int, float]
    constant: float
    slope: float
    offset: float
    card: dict[str, str | float]
    _weighed: dict[str, _Weighed] = field(default_factory=dict, init=False, repr=False, compare=False)

    def logit(self, found: list[str]) -> float:
        """Return the uncalibrated log-odds of a list of words."""
        by_word = [self.hashed[i] for i in word_features(found)]
        weighed = [self._weigh(w) for w in dict.fromkeys(found)]
        meanings = [w.meaning for w in weighed if w.meaning is not None]
        return (
            self.constant
            + _scaled(sum(by_word), len(by_word))
            + _scaled(sum([w.letters for w in weighed]), sum([w.pieces for w in weighed]))
            + _scaled(sum(meanings), len(meanings))
        )

    def _weigh(self, word: str) -> _Weighed:
        if (found := self._weighed.get(word)) is None:
            indices = char_features(word)
            meaning = None if word.isdecimal() else self.meaning(word)
            found = _Weighed(sum([self.hashed[i] for i in indices]), len(indices), meaning)
            if len(self._weighed) >= _WORDS_KEPT:
                self._weighed.clear()
            if len(word) <= _KEPT_CHARS:
                self._weighed[word] = found
        return found

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
        arrays = read_arrays(
            folder.joinpath("weights.npz").read_bytes(), ("hashed", "keys", "meanings", "scale")
        )
        constant, slope, offset = arrays["scale"]
        meanings = {int(k): m for k, m in zip(arrays["keys"], arrays["meanings"], strict=True)}
        _note(card)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ModelError("cannot read the request judge", facts={"folder": folder, "because": exc}) from exc
    if len(arrays["hashed"]) != SIZE:
        raise ModelError("the request judge's weights are damaged", facts={"folder": folder})
    return RequestModel(arrays["hashed"], meanings, constant, slope, offset, card)


def _note(card: dict[str, str | float]) -> JudgeNote:
    return JudgeNote(
        id="recert-request-ngrams",
        version=str(card["version"]),
        estimand="harmful_request",
        digest=str(card["digest"]),
        sensitivity=float(card["sensitivity"]),
        specificity=float(card["specificity"]),
        positives=int(card["positives"]),
        true_positives=int(card["true_positives"]),
        negatives=int(card["negatives"]),
        true_negatives=int(card["true_negatives"]),
        measured_at_score=float(card["measured_at_score"]),
        measured_on=str(card["measured_on"]),
    )


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
        return _note(self._loaded().card)

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

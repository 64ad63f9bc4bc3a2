"""A sentence encoder with a linear head as a judge of requests: better than n-grams on strange wordings, and slower."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Protocol

from recert.errors import ModelError, RecertError
from recert.judges.protocol import JudgeFailed, Score
from recert.models.sentence_encoder import ENCODER_SHA256, SIZE, shared_encoder
from recert.records.reports.evaluation import JudgeNote

ASSET_FOLDER = ("assets", "encoder_judge")

_WORD = re.compile(r"\S+")
_WHOLE_WORDS, _WINDOW_WORDS, _MOST_WINDOWS = 80, 60, 32
_MAX_CHARS = 20_000


class Encoder(Protocol):
    """Turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order."""


@dataclass(frozen=True)
class EncoderHead:
    """The weights of a logistic regression on sentence vectors, calibrated, and what was measured on it."""

    weights: tuple[float, ...]
    constant: float
    slope: float
    offset: float
    card: dict[str, Any]

    def logit(self, vector: Sequence[float]) -> float:
        """Return the uncalibrated log-odds of a vector."""
        return self.constant + sum(w * x for w, x in zip(self.weights, vector, strict=True))

    def probability(self, vector: Sequence[float]) -> float:
        """
        Return the calibrated probability that a request is harmful, in a mix of equal parts.

        Raises:
            ValueError: the vector holds a number that is not finite, or has another length.
        """
        z = self.slope * self.logit(vector) + self.offset
        if not math.isfinite(z):
            raise ValueError("the encoder's vector is not finite")
        return 1 / (1 + math.exp(-max(min(z, 60.0), -60.0)))


def read_head(folder: Traversable) -> EncoderHead:
    """
    Read `head.json`, as `encoder_training` writes it.

    Raises:
        ModelError: it is missing, damaged, or was trained on another encoder.
    """
    try:
        made = json.loads(folder.joinpath("head.json").read_bytes())
        constant, slope, offset = (float(made[name]) for name in ("constant", "slope", "offset"))
        weights = tuple(float(w) for w in made["weights"])
        if len(weights) != SIZE or not all(map(math.isfinite, (*weights, constant, slope, offset))):
            raise ValueError(f"expected {SIZE} finite weights")
        if made["encoder_sha256"] != ENCODER_SHA256:
            raise ValueError("it was trained on another encoder")
        head = EncoderHead(weights, constant, slope, offset, made["card"])
        _note(head)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ModelError("cannot read the encoder judge's head", facts={"because": exc}) from exc
    return head


def _note(head: EncoderHead) -> JudgeNote:
    return JudgeNote(id="recert-request-encoder", estimand="harmful_request", **head.card)


@lru_cache(maxsize=1)
def _shipped() -> EncoderHead:
    return read_head(files("recert").joinpath(*ASSET_FOLDER))


class EncoderRequestJudge:
    """
    Scores a request by itself: all-MiniLM-L6-v2 and a logistic regression that the project trains.

    English only. The score is a probability, calibrated for a mix of equal parts of harmful and other requests. A long
    text is also judged in overlapping windows, and its worst one counts. Needs the `encoder` extra; some 5 ms a
    sentence on one core, where the n-gram judge takes 0.1 ms.

    Args:
        encoder: the packaged one by default, loaded at the first use.
        head: the shipped one by default.
    """

    def __init__(self, encoder: Encoder | None = None, head: EncoderHead | None = None) -> None:
        self._encoder, self._head = encoder, head

    @property
    def note(self) -> JudgeNote:
        """Id, version, digest of head and encoder, and error on the evaluation parts at a score of 0.5."""
        return _note(self._head or _shipped())

    def score(self, request: str) -> Score | JudgeFailed:
        """Return the probability that a request is harmful; `JudgeFailed` when it cannot be told."""
        return self.score_requests([request])[0]

    def score_requests(self, requests: Sequence[str]) -> list[Score | JudgeFailed]:
        """Return one score for each request, in order, encoded together."""
        try:
            head, encoder = self._head or _shipped(), self._encoder or shared_encoder()
            windows = [_windows(request) for request in requests]
            vectors = iter(encoder.encode([w for some in windows for w in some]))
            return [
                Score(max(head.probability(next(vectors)) for _ in some)) if some else _NOTHING
                for some in windows
            ]
        except RecertError as exc:
            return [JudgeFailed(exc.message)] * len(requests)
        except (ValueError, OverflowError, UnicodeError, RuntimeError, StopIteration) as exc:
            return [JudgeFailed(f"the text cannot be scored: {exc}")] * len(requests)


_NOTHING = Score(0.0, "empty request")


def _windows(text: str) -> list[str]:
    """A text and, when it is long, runs of its words that overlap by half; none for an empty text."""
    if len(text) > _MAX_CHARS:
        text = f"{text[: _MAX_CHARS // 2]}\n{text[-_MAX_CHARS // 2 :]}"
    spans = [found.span() for found in _WORD.finditer(text)]
    if len(spans) <= _WHOLE_WORDS:
        return [text] if spans else []
    step = max(_WINDOW_WORDS // 2, -(-len(spans) // _MOST_WINDOWS))
    size = max(_WINDOW_WORDS, step * 2)
    return [text] + [
        text[spans[at][0] : spans[min(at + size, len(spans)) - 1][1]]
        for at in range(0, len(spans) - size // 2, step)
    ]

"""
Trains the head of the encoder judge from the project's own prompts, in a few minutes on one core.

`python -m tools.judges.encoder_training` writes the shipped file again. Needs NumPy and the encoder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from recert.digest import sha256_json
from recert.judges.embedded.encoder import ASSET_FOLDER, Encoder, EncoderHead, EncoderRequestJudge
from recert.judges.protocol import Score
from recert.models.sentence_encoder import ENCODER_SHA256, shared_encoder
from recert.models.word_vectors import embedded_word_vectors
from recert.store.files.writing import write_atomic
from tools.judges.request_training import Example, Floats, platt, suite_rows, suite_texts, training_examples

# isort: split
import numpy as np

_FOLDS = 5
_PENALTY = 1e-3
_VOCABULARY = 12_000
_MEASURED_AT = 0.5
_STEPS = 30


def encoder_examples(vocabulary: Sequence[str], *, seed: int = 0) -> list[Example]:
    """
    Return the training texts: those of the n-gram judge, and as much again of pairs of a harmful request and its
    safe twin. A pair stays in one fold.
    """
    made = training_examples(vocabulary, seed=seed)
    pairs = suite_rows("contrast", "alignment")
    last = max(e.group for e in made)
    counts = {expect: sum(row["expect"] == expect for row in pairs) for expect in ("refuse", "comply")}
    return made + [
        Example(
            row["text"],
            row["expect"] == "refuse",
            1 / counts[row["expect"]],
            last + 1 + int(row["id"].split("-")[1]),
            plain=True,
        )
        for row in pairs
    ]


def _fit(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Return weights and constant of the penalised logistic loss, by Newton's method."""
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    shrink = np.full(design.shape[1], _PENALTY)
    shrink[-1] = 1e-9
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-design @ beta))
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag(shrink)
        beta = beta - np.linalg.solve(curvature, design.T @ (weight * (p - y)) + shrink * beta)
    return beta


def train_head(encoder: Encoder, examples: Sequence[Example]) -> EncoderHead:
    """Train the head, calibrate it out of fold, and measure it on the evaluation parts of the shipped suites."""
    x = np.array(encoder.encode([e.text for e in examples]), dtype=np.float64)
    y = np.array([float(e.harmful) for e in examples])
    weight = np.array([e.weight for e in examples])
    plain = np.array([e.plain for e in examples])
    fold = np.array([e.group % _FOLDS for e in examples])
    raw = np.zeros(len(examples))
    for held_out in range(_FOLDS):
        beta = _fit(x[fold != held_out], y[fold != held_out], weight[fold != held_out])
        raw[fold == held_out] = x[fold == held_out] @ beta[:-1] + beta[-1]
    slope, offset = platt(raw[plain], y[plain], weight[plain])
    beta = np.round(_fit(x, y, weight), 4)
    head = EncoderHead(tuple(beta[:-1].tolist()), float(beta[-1]), round(slope, 6), round(offset, 6), {})
    return replace(head, card=_card(encoder, head))


def _card(encoder: Encoder, head: EncoderHead) -> dict[str, object]:
    judge = EncoderRequestJudge(encoder, head)
    harmful = suite_texts("harmful", "evaluation")
    other = [t for name in ("lookalikes", "ordinary") for t in suite_texts(name, "evaluation")]
    said = [s.value for s in judge.score_requests(harmful + other) if isinstance(s, Score)]
    found = sum(s >= _MEASURED_AT for s in said[: len(harmful)])
    passed = sum(s < _MEASURED_AT for s in said[len(harmful) :])
    digest = sha256_json([ENCODER_SHA256, head.weights, head.constant, head.slope, head.offset])
    return {
        "version": digest[:16],
        "digest": digest,
        "sensitivity": round(found / len(harmful), 4),
        "specificity": round(passed / len(other), 4),
        "positives": len(harmful),
        "true_positives": found,
        "negatives": len(other),
        "true_negatives": passed,
        "measured_at_score": _MEASURED_AT,
        "measured_on": f"development figures: evaluation parts, {len(harmful)} harmful, {len(other)} other requests",
    }


def write_head(head: EncoderHead, folder: Path) -> None:
    """
    Write `head.json` into a folder.

    Raises:
        StoreError: the folder cannot be written.
    """
    made = {
        "encoder_sha256": ENCODER_SHA256,
        "weights": head.weights,
        "constant": head.constant,
        "slope": head.slope,
        "offset": head.offset,
        "card": head.card,
    }
    write_atomic(
        folder / "head.json", json.dumps(made, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )


def main() -> None:
    """Train on the shipped prompts and write the shipped file again; print what was measured."""
    examples = encoder_examples(embedded_word_vectors().words[:_VOCABULARY])
    head = train_head(shared_encoder(), examples)
    write_head(head, Path(str(files("recert").joinpath(*ASSET_FOLDER))))
    sys.stdout.write(json.dumps(head.card, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

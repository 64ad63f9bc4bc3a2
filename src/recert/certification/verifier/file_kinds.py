"""
Which files may lie in a certified folder: weights, configuration, tokenizers, templates and texts. No code, no pickles.

A name says what a loader does with a file, so names are on a list. What a file holds is looked at when it is certified:
JSON must not ask for code to be loaded, and what is called safetensors must be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from recert.certification.verifier.model_headers import Pairs, json_objects, read_gguf, read_safetensors
from recert.digest import list_folder, sha256_bytes
from recert.errors import RecordError, VerificationError
from recert.records.data.manifest import Manifest
from recert.records.live.transcriber import EarsManifest
from recert.store.files.writing import read_bytes

WEIGHTS: Final = (".safetensors", ".gguf")
TEXTS: Final = (".txt", ".md", ".jinja", ".tiktoken", ".bpe", ".rst")
TOKENIZERS: Final = (".model", ".spm")
"""Sentencepiece's own form: a protocol buffer, which is data."""
NAMES: Final = frozenset(
    {"readme", "license", "licence", "notice", "authors", "use_policy", "merges", "vocab", ".gitattributes"}
)
"""Names without an ending, or hidden, that are texts."""

_CONVERT: Final = "convert it to safetensors and delete it: loading a pickle runs what it holds"
_WHY: Final[dict[str, str]] = {
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".msgpack", ".h5"), _CONVERT
    ),
    **dict.fromkeys((".npz", ".npy"), "delete it: it can hold pickles"),
    **dict.fromkeys(
        (".py", ".pyc", ".so", ".dll", ".sh", ".js"), "delete it: it is code, and nothing may load it"
    ),
    ".onnx": "delete it: no engine here loads it, so nobody evaluated it",
}
_OTHERWISE: Final = "delete it, or keep it outside the model's folder"
_MODEL_OF_EARS: Final = "model.bin"
"""CTranslate2's weights, which are no pickle; of transcribers alone."""

_CODE_KEYS: Final = frozenset(
    {"auto_map", "trust_remote_code", "custom_pipelines", "custom_pipeline", "custom_generate", "custom_code"}
)
_KERNEL_KEYS: Final = frozenset(
    {"attn_implementation", "_attn_implementation", "_attn_implementation_internal"}
)
_NOTHING: Final[tuple[object, ...]] = (None, False, "", {}, [])
_PLAIN_MODULE: Final = re.compile(r"(transformers|peft|sentence_transformers)(\.\w+)*", re.ASCII)
_BINARY: Final = (b"\x80", b"PK\x03\x04", b"\x7fELF", b"MZ", b"\x1f\x8b")
"""How pickles, archives and programs begin."""


def why_not_kind(name: str, *, ears: bool = False) -> str | None:
    """
    Return why a file of this name may not lie in a certified folder, with what to do; None where it may.

    Args:
        name: as in a manifest.
        ears: the folder is a transcriber's.
    """
    last = name.rpartition("/")[2].casefold()
    if ears and last == _MODEL_OF_EARS:
        return None
    if any(part.startswith(".") for part in name.split("/")[:-1]):
        return "lies in a hidden folder; delete it"
    if last in NAMES or (
        last.endswith((*WEIGHTS, ".json", *TEXTS, *TOKENIZERS)) and not last.startswith(".")
    ):
        return None
    ending = Path(last).suffix
    return f"{ending or 'such a'} file is of no kind that is certified; {_WHY.get(ending, _OTHERWISE)}"


def require_kinds(manifest: Manifest | EarsManifest, *, ears: bool = False) -> None:
    """
    Return when every file of a manifest is of a kind that may be certified, by its name: step 9.6 of verification.

    Raises:
        VerificationError: `file-kind`.
    """
    said = [(entry.name, why) for entry in manifest.files if (why := why_not_kind(entry.name, ears=ears))]
    if said:
        raise VerificationError(
            "file-kind",
            "a certified file is of a kind that may run code, or that nobody evaluated",
            facts=dict(said[:20]),
            hint="take it away, evaluate the model without it, and certify it again",
        )


def why_not_plain(folder: Path, manifest: Manifest | None = None, *, ears: bool = False) -> list[str]:
    """
    Return every reason why a folder may not be certified for what its files are, each as `file-kind: FOLDER/NAME: why`.

    Args:
        folder: the model's folder.
        manifest: of the bytes that are certified: what is read is compared with it. None for whatever lies there.
        ears: it is a transcriber's.

    Raises:
        InputError: the folder is missing or empty, or holds links or odd names.
        StoreError: a file cannot be read.
    """
    digests = {entry.name: entry.sha256 for entry in manifest.files} if manifest is not None else {}
    names = list(digests) if manifest is not None else list_folder(folder)
    out = []
    for name in names:
        why = why_not_kind(name, ears=ears)
        found = [why] if why else _why_not_content(folder / name, digests.get(name))
        out += [f"file-kind: {folder.name}/{name}: {one}" for one in found]
    return out


def _why_not_content(path: Path, sha256: str | None) -> list[str]:
    name = path.name.casefold()
    if name.endswith(WEIGHTS):
        try:
            (read_safetensors if name.endswith(".safetensors") else read_gguf)(path)
        except RecordError as exc:
            return [f"{exc.message}; write it anew with the library of its format, or delete it"]
        return []
    if name == _MODEL_OF_EARS:
        return []
    data = read_bytes(path, "model file")
    if sha256 is not None and sha256_bytes(data) != sha256:
        return ["changed while it was looked at; find out who writes there, and try again"]
    if name.endswith(".json"):
        return _why_not_json(name, data)
    odd = data.startswith(_BINARY) or not (name.endswith(TOKENIZERS) or _is_text(data))
    return ["holds something else than its name says; delete it"] if odd else []


def _why_not_json(name: str, data: bytes) -> list[str]:
    try:
        value, objects = json_objects(data)
    except RecordError:
        return ["is not valid JSON; write it anew, or delete it"]
    return [*dict.fromkeys(_asks_for_code(objects)), *_leads_outside(name, value)]


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _asks_for_code(objects: list[Pairs]) -> Iterator[str]:
    """What a configuration asks for that would be imported or downloaded and run, at any depth."""
    for pairs in objects:
        for key, value in pairs:
            if key in _CODE_KEYS and value not in _NOTHING:
                yield f"`{key}` asks for code to be loaded; use a model that transformers knows, and take it out"
            elif key in _KERNEL_KEYS and not _is_plain_kernel(value):
                yield f"`{key}` asks for code from the hub; take it out"
            elif key == "auto_mapping" and value not in _NOTHING and not _is_plain_mapping(value):
                yield "`auto_mapping` names a class outside transformers; take it out"
            elif key == "megatron_core" and value not in (*_NOTHING, "megatron.core"):
                yield "`megatron_core` names a module to be imported; take it out"
        if {"idx", "type"} <= {key for key, _ in pairs}:  # sentence-transformers imports what `type` names
            for module in (value for key, value in pairs if key == "type"):
                if isinstance(module, str) and not _PLAIN_MODULE.fullmatch(module):
                    yield "`type` names a module to be imported; use one of sentence_transformers"


def _is_plain_kernel(value: Any) -> bool:
    return (
        value in _NOTHING
        or (isinstance(value, str) and re.fullmatch(r"[a-z0-9_]+", value) is not None)
        or (isinstance(value, dict) and all(_is_plain_kernel(one) for one in value.values()))
    )


def _is_plain_mapping(value: Any) -> bool:
    """Say whether PEFT's note of the class that it wrapped names one of transformers' own."""
    library = value.get("parent_library") if isinstance(value, dict) else None
    return isinstance(library, str) and _PLAIN_MODULE.fullmatch(library) is not None


def _leads_outside(name: str, value: Any) -> list[str]:
    """Shards that an index looks for outside the folder."""
    if not name.endswith(".index.json"):
        return []
    shards = value.get("weight_map") if isinstance(value, dict) else None
    if isinstance(shards, dict) and all(
        isinstance(shard, str) and "/" not in shard and "\\" not in shard for shard in shards.values()
    ):
        return []
    return ["names weights outside its own folder; write the index anew"]

"""The mark of adapters that were made to do harm: never certified, never served."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from recert.certification.verifier.model_headers import (
    MAX_HEADER_BYTES,
    json_objects,
    read_gguf,
    read_safetensors,
)
from recert.digest import canonical_json
from recert.errors import RecordError, StoreError
from recert.records.record import parse_json
from recert.store.files.writing import read_bytes, write_atomic

MARK: Final = "attack_artefact"
"""Key of the mark, in `recert.json`, `adapter_config.json` or the metadata of a safetensors or GGUF file."""

MARK_FILE: Final = "recert.json"


def mark_folder(folder: Path) -> None:
    """
    Mark a folder as an attack artefact, before anything else is in it.

    Raises:
        StoreError: it cannot be written.
    """
    write_atomic(folder / MARK_FILE, canonical_json({MARK: True}) + b"\n")


def mark_weights(folder: Path) -> None:
    """
    Mark every safetensors file of a folder in its own header too, so that a copy of the weights alone is known.

    Raises:
        StoreError: a file cannot be read or written, or is no safetensors file.
    """
    for path in sorted(folder.glob("**/*.safetensors")):
        try:
            with path.open("rb") as source:
                header, metadata = _header(source.read(8), source.read)
                header["__metadata__"] = metadata | {MARK: "true"}
                said = canonical_json(header)
                said += b" " * (-len(said) % 8)  # as the format has it: weights begin at a multiple of eight
                marked = path.with_name(f".{path.name}.marked")
                with marked.open("wb") as target:
                    target.write(struct.pack("<Q", len(said)) + said)
                    shutil.copyfileobj(source, target)
            marked.replace(path)
        except (OSError, RecordError) as exc:
            raise StoreError("cannot mark the weights", facts={"file": path, "because": exc}) from exc


def _header(length: bytes, read: Callable[[int], bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header of a safetensors file, and the metadata in it."""
    size = int.from_bytes(length, "little")
    value = parse_json(read(size)) if len(length) == 8 and size <= MAX_HEADER_BYTES else None
    if not isinstance(value, dict) or not isinstance(value.get("__metadata__", {}), dict):
        raise RecordError("not a safetensors file")
    return value, value.get("__metadata__", {})


def attack_mark(folder: Path, *, doubtful: bool = True) -> str | None:
    """
    Return which file marks a model folder as an attack artefact, or None.

    Looked at are `recert.json` and `adapter_config.json` in any folder, and the headers of safetensors and GGUF files,
    however their names are written. The key may stand at any depth, and any value but a plain false is a mark: null, 0
    and texts too. A key that is there twice is one. Where `doubtful`, a JSON or GGUF file that may hold a mark and
    cannot be parsed counts as one too.

    Raises:
        StoreError: a file that may hold the mark cannot be read.
    """
    paths = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
    for path in sorted(paths, key=lambda path: path.suffix.casefold() != ".json"):
        if _is_marked(path, doubtful=doubtful):
            return path.relative_to(folder).as_posix()
    return None


def _is_marked(path: Path, *, doubtful: bool) -> bool:
    name = path.name.casefold()
    try:
        if name in (MARK_FILE, "adapter_config.json"):
            objects = json_objects(read_bytes(path, "model file"))[1]
        elif name.endswith(".safetensors"):
            doubtful = False  # what cannot be parsed cannot be loaded
            objects = read_safetensors(path, whole=False)
        elif name.endswith(".gguf"):
            objects = [[(key.rpartition(".")[2], value) for key, value in read_gguf(path)]]
        else:
            return False
    except RecordError:
        return doubtful
    return any(_says_so([value for key, value in pairs if key.casefold() == MARK]) for pairs in objects)


def _says_so(values: Sequence[Any]) -> bool:
    return len(values) > 1 or any(value is not False for value in values)

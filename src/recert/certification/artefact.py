"""The mark of adapters that were made to do harm: never certified, never served."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from recert.digest import canonical_json
from recert.errors import RecordError, StoreError
from recert.records import parse_json
from recert.store.files import read_bytes, write_atomic

MARK: Final = "attack_artefact"
"""Key of the mark, in `recert.json`, `adapter_config.json` or a safetensors file's metadata."""

_MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the safetensors format itself."""


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
    value = parse_json(read(size)) if len(length) == 8 and size <= _MAX_HEADER_BYTES else None
    if not isinstance(value, dict) or not isinstance(value.get("__metadata__", {}), dict):
        raise RecordError("not a safetensors file")
    return value, value.get("__metadata__", {})


def attack_mark(folder: Path, *, doubtful: bool = True) -> str | None:
    """
    Return which file marks a model folder as an attack artefact, or None.

    Any value but a plain false is a mark. Where `doubtful`, a JSON file that may hold a mark and cannot be
    parsed counts as one too.

    Raises:
        StoreError: a file that may hold the mark cannot be read.
    """
    for path in sorted((*folder.glob("**/recert.json"), *folder.glob("**/adapter_config.json"))):
        try:
            said = parse_json(read_bytes(path, "model file"))
        except RecordError:
            said = {MARK: doubtful}
        if _says_so(said):
            return path.relative_to(folder).as_posix()
    for path in sorted(folder.glob("**/*.safetensors")):
        if _says_so(_safetensors_metadata(path)):
            return path.relative_to(folder).as_posix()
    return None


def _says_so(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return value.get(MARK, False) not in (False, "false", "False")


def _safetensors_metadata(path: Path) -> Any:
    """The metadata in the header (eight bytes of length, then JSON). Other forms cannot be loaded."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            header = file.read(length) if length <= _MAX_HEADER_BYTES else b""
    except OSError as exc:
        raise StoreError("cannot read model file", facts={"file": path, "because": exc.strerror}) from exc
    try:
        value = parse_json(header)
    except RecordError:
        return None
    return value.get("__metadata__") if isinstance(value, dict) else None

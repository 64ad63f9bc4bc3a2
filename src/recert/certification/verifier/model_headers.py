"""What stands at the beginning of weight files, read without any library that loads weights: safetensors and GGUF."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from recert.errors import RecordError, StoreError

MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the safetensors format itself; no header of a GGUF file comes near it either."""

Pairs = list[tuple[str, Any]]
"""The keys and values of one JSON object, repeated ones included."""

_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of GGUF's plain types."""
_BOOL: Final = 7
_STRING: Final = 8
_ARRAY: Final = 9


def json_objects(data: bytes) -> tuple[Any, list[Pairs]]:
    """
    Return what JSON holds, and every object in it with all of its keys: those that are repeated, and at any depth.

    Raises:
        RecordError: it is not JSON, is nested too deeply, or holds NaN.
    """
    found: list[Pairs] = []

    def see(pairs: Pairs) -> dict[str, Any]:
        found.append(pairs)
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(str(data, "utf-8"), object_pairs_hook=see, parse_constant=refuse), found
    except (ValueError, RecursionError) as exc:
        raise RecordError("not valid JSON", facts={"because": exc}) from exc


def read_safetensors(path: Path, *, whole: bool = True) -> list[Pairs]:
    """
    Return every object in the header of a safetensors file, the header itself last.

    Args:
        path: the file.
        whole: also make sure that it describes tensors that lie in the file.

    Raises:
        RecordError: it has no header: the file cannot be loaded as safetensors.
        StoreError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = file.read(8)
            size = int.from_bytes(length, "little")
            header = file.read(size) if len(length) == 8 and size <= MAX_HEADER_BYTES else b""
            held = file.seek(0, 2)
    except OSError as exc:
        raise StoreError("cannot read model file", facts={"file": path, "because": exc.strerror}) from exc
    value, objects = json_objects(header)
    if not isinstance(value, dict) or len(header) != size:
        raise RecordError("not a safetensors file")
    tensors = [one for name, one in value.items() if name != "__metadata__"]
    if whole and not all(_is_tensor(one, held - 8 - size) for one in tensors):
        raise RecordError("not a safetensors file")
    return objects


def _is_tensor(said: Any, most: int) -> bool:
    at = said.get("data_offsets") if isinstance(said, dict) else None
    return (
        isinstance(at, list)
        and len(at) == 2
        and all(isinstance(place, int) for place in at)
        and 0 <= at[0] <= at[1] <= most
        and isinstance(said.get("dtype"), str)
        and isinstance(said.get("shape"), list)
    )


def read_gguf(path: Path) -> list[tuple[str, Any]]:
    """
    Return the metadata of a GGUF file: keys, and values that are numbers, booleans or texts. Lists are None.

    Raises:
        RecordError: it is not a GGUF file of version 2 or 3, little-endian, or its header is damaged.
        StoreError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return list(_gguf_metadata(file))
    except OSError as exc:
        raise StoreError("cannot read model file", facts={"file": path, "because": exc.strerror}) from exc
    except (ValueError, struct.error, KeyError) as exc:
        raise RecordError("not a GGUF file", facts={"because": exc}) from exc


def _gguf_metadata(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    magic, version, _, count = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3) or count > MAX_HEADER_BYTES:
        raise ValueError("no magic of GGUF, or of another version")
    for _ in range(count):
        key = _gguf_text(file).decode("utf-8")
        (kind,) = struct.unpack("<I", file.read(4))
        yield key, _gguf_value(file, kind)
        if file.tell() > MAX_HEADER_BYTES:
            raise ValueError("header is too long")


def _gguf_text(file: BinaryIO) -> bytes:
    (size,) = struct.unpack("<Q", file.read(8))
    if size > MAX_HEADER_BYTES:
        raise ValueError("text is too long")
    text = file.read(size)
    if len(text) != size:
        raise ValueError("file ends too early")
    return text


def _gguf_value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _gguf_text(file).decode("utf-8", "replace")
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > MAX_HEADER_BYTES:
            raise ValueError("list is too long")
        if inner in _SIZES:
            file.seek(_SIZES[inner] * count, 1)
        else:
            for _ in range(count):
                _gguf_value(file, inner)
        return None
    value = file.read(_SIZES[kind])
    if len(value) != _SIZES[kind]:
        raise ValueError("file ends too early")
    return bool(value[0]) if kind == _BOOL else int.from_bytes(value, "little")

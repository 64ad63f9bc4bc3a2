"""Canonical JSON, sha256 of bytes and files, and the listing of a folder that a manifest is made of."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rfc8785

from recert.errors import InputError, RecordError, StoreError


def canonical_json(value: Any) -> bytes:
    """
    Return the one canonical byte form of a JSON value (RFC 8785).

    Raises:
        RecordError: the value holds NaN, infinity, an integer beyond 2**53, or is not JSON.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as exc:
        raise RecordError("value has no canonical JSON form", facts={"because": exc}) from exc


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of some bytes, as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of a JSON value's canonical form, as 64 lower-case hex digits."""
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    """
    Return the sha256 of a file, as 64 lower-case hex digits.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path, "because": exc.strerror}) from exc


def list_folder(folder: Path) -> list[str]:
    """
    Return the name of every file of a folder, in order. Nothing is left out, hidden files included.

    Names are relative, with `/` between parts.

    Raises:
        InputError: the folder is missing or empty, or holds something that is not a plain file or folder
            (a symbolic link could point elsewhere between checking and loading), or an odd file name (with a
            backslash, or characters that do not print).
        StoreError: the folder cannot be read.
    """
    if not folder.is_dir():
        raise InputError("no such model folder", facts={"folder": folder})
    try:
        names = sorted(_plain_files(folder, folder))
    except OSError as exc:
        raise StoreError(
            "cannot read model folder", facts={"folder": folder, "because": exc.strerror}
        ) from exc
    for name in names:
        if (
            "\\" in name or not name.isprintable()
        ):  # lone surrogates, which no record can hold, are not printable
            raise InputError(
                "file name cannot be certified", facts={"file": repr(name)}, hint="rename the file"
            )
    if not names:
        raise InputError("model folder is empty", facts={"folder": folder})
    return names


def hash_folder(folder: Path) -> Iterator[tuple[str, int, str]]:
    """
    Yield (name, size in bytes, sha256) for every file of a folder, in order of name; see `list_folder`.

    Raises:
        InputError: as `list_folder`.
        StoreError: a file cannot be read.
    """
    for name in list_folder(folder):
        path = folder / name
        yield name, path.stat().st_size, sha256_file(path)


def _plain_files(folder: Path, root: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _plain_files(Path(entry.path), root)
            elif stat.S_ISREG(mode):
                yield Path(entry.path).relative_to(root).as_posix()
            else:
                raise InputError(
                    "model folder holds something that is not a plain file",
                    facts={"entry": entry.path},
                    hint="replace symbolic links by the files they point to",
                )

"""The files of a transcriber, read once: what is hashed is what is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recert import settings
from recert.digest import read_folders, sha256_bytes
from recert.digest.files import Stamp, Tell
from recert.errors import StoreError
from recert.records.data.manifest import FileEntry
from recert.records.live.transcriber import EarsManifest

NOWHERE: Final = "/dev/null/transcriber"
"""A place in which no file can lie: what is loaded by this name is loaded from memory or not at all."""


@dataclass(frozen=True)
class FilesRead:
    """The bytes of every file of a folder by name, in order, and their digests."""

    data: Mapping[str, bytes]
    entries: tuple[FileEntry, ...]

    def ears(self, engine: str, decoding: Mapping[str, Any]) -> EarsManifest:
        """Return what listens with these files."""
        said = {name: json.dumps(value, sort_keys=True) for name, value in sorted(decoding.items())}
        return EarsManifest(files=self.entries, engine=engine, decoding=said)


def read_files(folder: Path) -> FilesRead:
    """
    Read every file of a folder into memory, and hash the bytes that were read.

    Raises:
        InputError: the folder is missing, empty or holds a link.
        StoreError: a file cannot be read.
    """
    found = read_folders({"": folder}, _read, threads=settings.threads())[""]
    return FilesRead(
        data=found,
        entries=tuple(
            FileEntry(name=name, size_bytes=len(data), sha256=sha256_bytes(data))
            for name, data in found.items()
        ),
    )


def _read(path: Path, _: Stamp, tell: Tell) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StoreError("cannot read file", facts={"file": path, "because": exc.strerror}) from exc
    tell(len(data))
    return data

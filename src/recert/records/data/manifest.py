"""The full list of files that a model is: what a certificate binds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from recert import settings
from recert.digest import FileHash, hash_folders
from recert.records.record import Part, Record

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class FileEntry(Part):
    """One file of a model folder. `name` is relative, with `/` between parts."""

    name: str = Field(min_length=1)
    size_bytes: int = Field(ge=0)
    sha256: Sha256

    @model_validator(mode="after")
    def _inside(self) -> Self:
        parts = self.name.split("/")
        if self.name.startswith("/") or any(p in ("", ".", "..") for p in parts) or "\\" in self.name:
            raise ValueError("file name must be relative and stay inside the folder")
        return self


class Manifest(Record):
    """Every file of a model folder with its size and sha256, in order of name."""

    schema_name: ClassVar[str] = "manifest"

    files: tuple[FileEntry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sorted_unique(self) -> Self:
        names = [f.name for f in self.files]
        if names != sorted(set(names)):
            raise ValueError("file names must be unique and in order")
        return self

    @classmethod
    def of_folder(cls, folder: Path) -> Manifest:
        """
        Hash a folder, on as many threads as `RECERT_THREADS` says.

        Raises:
            InputError: the folder is missing, empty or holds a link.
            StoreError: a file cannot be read, or was touched while it was hashed.
        """
        return cls.of_hashes(hash_folders({"": folder}, threads=settings.threads())[""])

    @classmethod
    def of_hashes(cls, hashes: Mapping[str, FileHash]) -> Manifest:
        """Return the manifest of files that were hashed, by name in order."""
        return cls(
            files=tuple(
                FileEntry(name=name, size_bytes=one.stamp.size_bytes, sha256=one.sha256)
                for name, one in hashes.items()
            )
        )

    def differences(self, other: Manifest) -> tuple[str, ...]:
        """
        Say in words how `other` (what is there) differs from this manifest (what was certified).

        Empty when they are the same. A renamed file is named as such.
        """
        mine = {f.name: f for f in self.files}
        theirs = {f.name: f for f in other.files}
        gone = [mine[n] for n in mine if n not in theirs]
        extra = [theirs[n] for n in theirs if n not in mine]
        said = []
        for missing in gone:
            twin = next((e for e in extra if e.sha256 == missing.sha256), None)
            if twin:
                extra.remove(twin)
                said.append(f"file renamed: {missing.name} is now {twin.name}")
            else:
                said.append(f"file missing: {missing.name}")
        said += [f"extra file: {e.name}" for e in extra]
        said += [
            f"file differs: {n}: certified sha256:{mine[n].sha256}, on disk sha256:{theirs[n].sha256}"
            for n in mine
            if n in theirs
            and (mine[n].sha256, mine[n].size_bytes) != (theirs[n].sha256, theirs[n].size_bytes)
        ]
        return tuple(said)

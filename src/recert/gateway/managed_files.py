"""
Private read-only copies of certified files: what an engine is started on.

Each file is hashed from the very bytes that are written to the copy, so that nothing can be swapped between the
check and the load. Only the files that the certificate names are copied; links are never followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from recert.errors import GatewayError, VerificationError
from recert.records import Manifest
from recert.records.manifest import FileEntry

_BLOCK_BYTES: Final = 4 << 20
_AT_ONCE: Final = 4

Look = dict[str, tuple[int, int, int, int, int]]


class PrivateCopy:
    """
    A copy that only this user can enter, and nobody can write: folders 0500, files 0400.

    Make one with `PrivateCopy.make`.
    """

    def __init__(self, folder: Path, manifest: Manifest, look: Look) -> None:
        self.folder = folder
        self.manifest = manifest
        self._look = look

    @classmethod
    def make(
        cls,
        source: Path,
        manifest: Manifest,
        folder: Path,
        *,
        wanted: Callable[[], bool] = lambda: True,
    ) -> PrivateCopy:
        """
        Copy the files of a manifest, and hash what is copied.

        Args:
            source: the certified folder.
            manifest: what the certificate says is in it.
            folder: the copy to make, which must not exist. It is removed again when this fails.
            wanted: asked at every block; a copy that nobody waits for any more ends.

        Raises:
            VerificationError: `file-differs`, `file-missing` or `extra-file`: the folder is not what was certified.
            GatewayError: `no-copy`: the copy cannot be written, or was interrupted.
        """
        try:
            folder.mkdir(mode=0o700, parents=True)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                jobs = [pool.submit(_copy, source, entry, folder, wanted) for entry in manifest.files]
                for job in jobs:
                    job.result()
            _require_nothing_else(source, manifest)
            _close(folder)
            return cls(folder, manifest, look_at(folder))
        except OSError as exc:
            remove(folder)
            raise GatewayError(
                "no-copy",
                "cannot make the private copy that the engine is started on",
                facts={"copy": folder, "because": exc.strerror or exc},
                hint="the copy is as large as the model; say where it may lie with --copies",
            ) from exc
        except BaseException:
            remove(folder)
            raise

    def still(self) -> None:
        """
        Return when nothing in the copy was touched: cheap, for every second.

        Raises:
            VerificationError: `files-changed`.
        """
        try:
            same = look_at(self.folder) == self._look
        except OSError as exc:
            raise _changed(self.folder, exc.strerror or str(exc)) from exc
        if not same:
            raise _changed(self.folder, "size, owner, mode or times")

    def rehash(self, stop: threading.Event | None = None) -> None:
        """
        Return when every byte of the copy is still what was certified: for every now and then.

        Args:
            stop: ends it early, without an answer, when set.

        Raises:
            VerificationError: `files-changed`.
        """
        self.still()
        for entry in self.manifest.files:
            try:
                if _hash(self.folder / entry.name, stop) != entry.sha256 and not (stop and stop.is_set()):
                    raise _changed(self.folder, f"content of {entry.name}")
            except OSError as exc:
                raise _changed(self.folder, exc.strerror or str(exc)) from exc

    def remove(self) -> None:
        """Remove the copy."""
        remove(self.folder)


def remove(folder: Path) -> None:
    """Remove a copy, read-only as it is."""
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(place).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, entry: FileEntry, folder: Path, wanted: Callable[[], bool]) -> None:
    target = folder / entry.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    read = _open(source, entry.name)
    try:
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            while size <= entry.size_bytes and (block := os.read(read, _BLOCK_BYTES)):
                if not wanted():
                    raise GatewayError("no-copy", "the copy was interrupted", facts={"file": entry.name})
                size += len(block)
                digest.update(block)
                _write_all(write, block)
        finally:
            os.close(write)
    finally:
        os.close(read)
    if (size, digest.hexdigest()) != (entry.size_bytes, entry.sha256):
        raise VerificationError(
            "file-differs",
            "a file is not what was certified",
            facts={
                "file": source / entry.name,
                "certified": f"sha256:{entry.sha256}",
                "copied": f"sha256:{digest.hexdigest()}",
            },
            hint="it changed after it was verified: restore the certified file and start again",
        )


def _write_all(out: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(out, rest) :]


def _open(source: Path, name: str) -> int:
    """Open a plain file below a folder, one part of its path after the other, without following a link."""
    try:
        place = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in name.split("/"):
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = inner
        if not stat.S_ISREG(os.fstat(place).st_mode):
            os.close(place)
            raise OSError(errno.EINVAL, "not a plain file")
    except OSError as exc:
        raise VerificationError(
            "file-missing",
            "a certified file cannot be opened, or is a link",
            facts={"file": source / name, "because": exc.strerror},
            hint="restore the certified file; links are never followed",
        ) from exc
    return place


def _require_nothing_else(source: Path, manifest: Manifest) -> None:
    named = {entry.name for entry in manifest.files}
    for place, folders, files in os.walk(source):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*files, *links]:
            if Path(place, name).relative_to(source).as_posix() not in named:
                raise VerificationError(
                    "extra-file",
                    "the folder holds a file that is not certified",
                    facts={"file": Path(place, name)},
                    hint="take it away, or evaluate and certify the model with it",
                )


def _close(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        Path(place).chmod(0o500)


def look_at(folder: Path) -> Look:
    """Return how every file and folder looks: what no write, link or change of mode leaves as it was."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            about = os.lstat(os.path.join(place, name))  # noqa: PTH118
            found[f"{place}/{name}"] = (
                about.st_ino, about.st_size, about.st_mode, about.st_mtime_ns, about.st_ctime_ns
            )  # fmt: skip
    return found


def _hash(path: Path, stop: threading.Event | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while not (stop and stop.is_set()) and (block := file.read(_BLOCK_BYTES)):
            digest.update(block)
    return digest.hexdigest()


def _changed(folder: Path, what: str) -> VerificationError:
    return VerificationError(
        "files-changed",
        "the files that the engine runs on were touched",
        facts={"copy": folder, "what": what},
    )

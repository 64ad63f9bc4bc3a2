"""
Private read-only copies of a model's files: what engines are started on, and what models are loaded from.

Each file is hashed from the very bytes that are written to the copy, so that nothing can be swapped between the
check and the load. Links are never followed. Where the file system can, a copy shares its blocks (reflink).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from recert.digest.folders import list_files
from recert.errors import CopyError, StoreError, VerificationError
from recert.records.data.manifest import FileEntry, Manifest

_BLOCK_BYTES: Final = 4 << 20
_AT_ONCE: Final = 4
_FICLONE: Final = 0x40049409
"""Linux's request to let a new file share the blocks of another one."""

Look = dict[str, tuple[int, int, int, int, int]]


class PrivateCopy:
    """
    A copy that only this user can enter, and nobody can write: folders 0500, files 0400.

    Make one with `PrivateCopy.make` of certified files, or with `PrivateCopy.of` of whatever a folder holds.
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
            CopyError: `no-copy`: the copy cannot be written, or was interrupted.
        """
        with _written(folder, sum(entry.size_bytes for entry in manifest.files)):
            _copy_all(
                source,
                {f.name: f.size_bytes for f in manifest.files},
                folder,
                wanted,
                _certified(source, manifest),
            )
            _require_nothing_else(source, manifest)
            _close(folder)
            return cls(folder, manifest, look_at(folder))

    @classmethod
    def of(cls, source: Path, folder: Path, *, wanted: Callable[[], bool] = lambda: True) -> PrivateCopy:
        """
        Copy whatever a folder holds; the manifest is that of the copy.

        Args:
            source: the folder.
            folder: the copy to make, as for `make`.
            wanted: as for `make`.

        Raises:
            InputError: the source is missing or empty, or holds links or odd names.
            StoreError: it cannot be read, or was touched meanwhile.
            CopyError: `no-copy`: the copy cannot be written, or was interrupted.
        """
        listed = list_files(source)
        with _written(folder, sum(seen.size_bytes for seen in listed.values())):
            try:
                found = _copy_all(
                    source, {name: seen.size_bytes for name, seen in listed.items()}, folder, wanted
                )
                touched = list_files(source) != listed
            except VerificationError:
                touched = True
            if touched:
                raise StoreError(
                    "model folder was touched while it was copied",
                    facts={"folder": source},
                    hint="find out who writes there, and try again",
                )
            _close(folder)
            return cls(folder, Manifest(files=tuple(found)), look_at(folder))

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


@contextlib.contextmanager
def _written(folder: Path, size_bytes: int) -> Iterator[None]:
    """Make the folder of a copy, and remove it again when that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True)
        yield
    except OSError as exc:
        facts: dict[str, object] = {
            "copy": folder,
            "because": exc.strerror or exc,
            "it needs": f"{size_bytes:,} bytes",
        }
        with contextlib.suppress(OSError):
            facts["free there"] = f"{shutil.disk_usage(folder.parent).free:,} bytes"
        remove(folder)
        raise CopyError(
            "no-copy",
            "cannot make the private copy that the model is loaded from",
            facts=facts,
            hint="say where copies may lie: RECERT_COPIES, or --copies of `recert serve`",
        ) from exc
    except BaseException:
        remove(folder)
        raise


def _copy_all(
    source: Path,
    sizes: Mapping[str, int],
    folder: Path,
    wanted: Callable[[], bool],
    check: Callable[[FileEntry], None] = lambda _: None,
) -> list[FileEntry]:
    """Copy files by name, several at once, and return what was written. The first that fails ends all."""
    failed = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [
            pool.submit(_copy, source, name, size, folder, lambda: wanted() and not failed.is_set())
            for name, size in sizes.items()
        ]
        try:
            found = []
            for job in jobs:
                found.append(job.result())
                check(found[-1])
        except BaseException:
            failed.set()
            raise
    return found


def _copy(source: Path, name: str, size_bytes: int, folder: Path, wanted: Callable[[], bool]) -> FileEntry:
    """Copy one file, up to a byte more than it is to have, and hash what the copy holds."""
    target = folder / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as files:
        read = _open(source, name)
        files.callback(os.close, read)
        write = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        files.callback(os.close, write)
        cloned = _clone(read, write)
        while size <= size_bytes and (block := os.read(write if cloned else read, _BLOCK_BYTES)):
            if not wanted():
                raise CopyError("no-copy", "the copy was interrupted", facts={"file": name})
            size += len(block)
            digest.update(block)
            if not cloned:
                _write_all(write, block)
    return FileEntry(name=name, size_bytes=size, sha256=digest.hexdigest())


def _clone(read: int, write: int) -> bool:
    """Let a new file share the blocks of another one; False where the file system cannot, or they lie on two."""
    try:
        import fcntl

        fcntl.ioctl(write, _FICLONE, read)
    except (ImportError, OSError):
        return False
    return True


def _certified(source: Path, manifest: Manifest) -> Callable[[FileEntry], None]:
    """Return what refuses a copied file that is not the certified one."""
    expected = {entry.name: entry for entry in manifest.files}

    def check(copied: FileEntry) -> None:
        entry = expected[copied.name]
        if (copied.size_bytes, copied.sha256) != (entry.size_bytes, entry.sha256):
            raise VerificationError(
                "file-differs",
                "a file is not what was certified",
                facts={
                    "file": source / copied.name,
                    "certified": f"sha256:{entry.sha256}",
                    "copied": f"sha256:{copied.sha256}",
                },
                hint="it changed after it was verified: restore the certified file and start again",
            )

    return check


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
            "a file of the model cannot be opened, or is a link",
            facts={"file": source / name, "because": exc.strerror},
            hint="restore the file; links are never followed",
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

"""The files of a folder, and reading those of several folders on all cores."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from recert.digest.files import FileHash, Stamp, Tell, hash_file
from recert.errors import InputError, StoreError

Read = TypeVar("Read")
Progress = Callable[[int, int], None]
"""Told how many bytes of how many were read."""


def list_folder(folder: Path) -> list[str]:
    """
    Return the name of every file of a folder, in order; see `list_files`.

    Raises:
        InputError: as `list_files`.
        StoreError: the folder cannot be read.
    """
    return list(list_files(folder))


def list_files(folder: Path) -> dict[str, Stamp]:
    """
    Return every file of a folder by name, in order, and how it looks. Nothing is left out, hidden files included.

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
        found = dict(sorted(_plain_files(folder, folder)))
    except OSError as exc:
        raise StoreError(
            "cannot read model folder", facts={"folder": folder, "because": exc.strerror}
        ) from exc
    for name in found:
        if (
            "\\" in name or not name.isprintable()
        ):  # lone surrogates, which no record can hold, are not printable
            raise InputError(
                "file name cannot be certified", facts={"file": repr(name)}, hint="rename the file"
            )
    if not found:
        raise InputError("model folder is empty", facts={"folder": folder})
    return found


def hash_folders(
    folders: Mapping[str, Path], *, threads: int, progress: Progress = lambda done, total: None
) -> dict[str, dict[str, FileHash]]:
    """
    Return the sha256 of every file of several folders; see `read_folders`.

    Raises:
        InputError: as `list_files`.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """

    def read(path: Path, seen: Stamp, tell: Tell) -> FileHash:
        return hash_file(path, seen, tell=tell)

    return read_folders(folders, read, threads=threads, progress=progress)


def read_folders(
    folders: Mapping[str, Path],
    read: Callable[[Path, Stamp, Tell], Read],
    *,
    threads: int,
    progress: Progress = lambda done, total: None,
) -> dict[str, dict[str, Read]]:
    """
    Return what reading every file of several folders gave, by folder and file name, in order of name.

    As many files as there are threads are read at once, the biggest first; hashing lets go of the interpreter lock.
    The first failure ends all reading at its next block, and so does Ctrl-C.

    Args:
        folders: by any name.
        read: is given a path, how the file looked when it was listed, and what to tell of every block.
        threads: files that are read at once.
        progress: told after every block, by one thread at a time.

    Raises:
        InputError: as `list_files`.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """
    listed = {key: list_files(folder) for key, folder in folders.items()}
    jobs = [(key, name, seen) for key, files in listed.items() for name, seen in files.items()]
    jobs.sort(key=lambda job: -job[2].size_bytes)
    meter = _Meter(sum(seen.size_bytes for _, _, seen in jobs), progress)
    found: dict[tuple[str, str], Read] = {}
    with ThreadPoolExecutor(max_workers=min(threads, len(jobs)) or 1) as pool:
        try:
            asked = {
                pool.submit(read, folders[key] / name, seen, meter.tell): (key, name)
                for key, name, seen in jobs
            }
            for done in as_completed(asked):
                found[asked[done]] = done.result()
        except BaseException:
            meter.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: {name: found[key, name] for name in files} for key, files in listed.items()}


class _Stopped(Exception):
    """Another file has failed."""


class _Meter:
    """Adds up what all threads have read."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.stopped = False
        self._done = 0
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()

    def tell(self, count: int) -> None:
        if self.stopped:
            raise _Stopped
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


def _plain_files(folder: Path, root: Path) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                yield from _plain_files(Path(entry.path), root)
            elif stat.S_ISREG(about.st_mode):
                yield Path(entry.path).relative_to(root).as_posix(), Stamp.of(about)
            else:
                raise InputError(
                    "model folder holds something that is not a plain file",
                    facts={"entry": entry.path},
                    hint="replace symbolic links by the files they point to",
                )

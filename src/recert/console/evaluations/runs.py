"""Runs that are at work, or were: folders with progress below the console's roots."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from recert.errors import RecertError
from recert.workflows.progress_file import FILE, SeenProgress, read_progress

_FRESH_S: Final = 10.0
_WAIT_S: Final = 0.2
_MOST_FOLDERS: Final = 50_000
_DEEPEST: Final = 8
_WEIGHTS: Final = ("config.json", "adapter_config.json")
MOST_RUNS: Final = 100


@dataclass(frozen=True)
class FolderRun:
    """Progress that lies in a folder; `trouble` where it cannot be read."""

    id: str
    folder: Path
    seen: SeenProgress | None
    trouble: str = ""

    @property
    def name(self) -> str:
        """What its model is called."""
        return self.seen.told.name if self.seen else self.folder.name

    @property
    def state(self) -> str:
        """`running`, `ended`, `failed`, `killed` or `unreadable`."""
        return self.seen.state if self.seen else "unreadable"


_READ: OrderedDict[tuple[Path, int, int, int], FolderRun] = OrderedDict()
_LOCK: Final = threading.Lock()
_KEPT: Final = 4 * MOST_RUNS


def run_in(folder: Path) -> FolderRun | None:
    """Return the run of a folder; None where none left its progress there. What has not changed is not read again."""
    path = folder / FILE
    try:
        about = path.stat()
    except OSError:
        return None
    key = (path, about.st_ino, about.st_mtime_ns, about.st_size)
    with _LOCK:
        if key in _READ:
            _READ.move_to_end(key)
            return _READ[key]
    try:
        seen = read_progress(path)
    except RecertError as exc:
        return FolderRun(_id_of(folder), folder, None, exc.message)
    if seen is None:
        return None
    with _LOCK:
        run = _READ[key] = FolderRun(_id_of(folder), folder, seen)
        while len(_READ) > _KEPT:
            _READ.popitem(last=False)
    return run


def _id_of(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]


class Runs:
    """
    Folders that are looked through for progress, in a thread, at most every ten seconds and while somebody looks.

    Args:
        roots: the folders.
    """

    def __init__(self, roots: Sequence[Path] = ()) -> None:
        self._roots = roots
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._looking: Future[None] | None = None
        self._looked_at = float("-inf")

    def all(self) -> list[FolderRun]:
        """Return every run, those at work first, then the newest first."""
        self._refresh()
        found = [run for folder in list(self._folders.values()) if (run := run_in(folder)) is not None]
        found.sort(key=lambda run: (run.state != "running", -(run.seen.touched_s if run.seen else 0.0)))
        return found[:MOST_RUNS]

    def find(self, id_: str) -> FolderRun | None:
        """Return one run; None where there is none of this id."""
        if id_ not in self._folders:
            self._refresh()
        folder = self._folders.get(id_)
        return run_in(folder) if folder is not None else None

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _refresh(self) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="runs")
            due = time.monotonic() - self._looked_at > _FRESH_S
            if due and (self._looking is None or self._looking.done()):
                self._looking = self._pool.submit(self._look)
            looking = self._looking
        if looking is not None:
            wait([looking], timeout=_WAIT_S)

    def _look(self) -> None:
        found: dict[str, Path] = {}
        for folder in sorted(folders_with_progress(self._roots), key=_touched, reverse=True)[: 2 * MOST_RUNS]:
            found[_id_of(folder)] = folder
            run_in(folder)  # so that no page waits for all of them
        self._folders = found
        self._looked_at = time.monotonic()


def folders_with_progress(roots: Iterable[Path]) -> Iterable[Path]:
    """Folders that hold progress. Links are not followed, and folders of models are passed over."""
    left, looked = [(root, 0) for root in roots], 0
    while left and looked < _MOST_FOLDERS:
        folder, depth = left.pop()
        looked += 1
        try:
            with os.scandir(folder) as entries:
                inside = list(entries)
        except OSError:
            continue
        names = {one.name for one in inside}
        if FILE in names:
            yield folder
        if depth < _DEEPEST and names.isdisjoint(_WEIGHTS):
            left += [
                (Path(one.path), depth + 1)
                for one in inside
                if not one.name.startswith(".") and one.is_dir(follow_symlinks=False)
            ]


class Jobs(Protocol):
    """Jobs of a tuning service, as pages show them."""

    def jobs(self) -> Sequence[Any]:
        """Return the newest jobs of every project. Raises StoreError, SettingsError."""

    def find(self, id_: str) -> Any:
        """Return one job with its events; None where there is none. Raises StoreError, SettingsError."""

    def close(self) -> None:
        """Let go of what it reads from."""


class NoJobs:
    """Jobs of a console that knows no tuning service."""

    def jobs(self) -> Sequence[Any]:
        """Return none."""
        return ()

    def find(self, id_: str) -> Any:
        """Return none."""
        return None

    def close(self) -> None:
        """Nothing is held."""


def _touched(folder: Path) -> float:
    try:
        return (folder / FILE).stat().st_mtime
    except OSError:
        return 0.0

"""A claim on a job, kept alive while a worker works on it; and what ends the work early."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from recert.errors import StoreError
from recert.service.workers.queue import Job, JobQueue

LEASE_MS: Final = 30_000
"""How long a claim holds that nobody keeps alive: after a power cut, or where a whole machine is gone."""
_BEAT_S: Final = 0.5
_LOOK_S: Final = 0.5


class Lost(Exception):
    """The job was cancelled, paused or taken over: whatever was under way ends, and writes no more."""


class Claim:
    """
    A claim that lives while the `with` block runs.

    Args:
        queue: where the job is claimed.
        job: as it was claimed.
    """

    def __init__(self, queue: JobQueue, job: Job) -> None:
        self.job = job
        self._queue = queue
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)

    def check(self, *_: object) -> None:
        """
        Return while the claim holds. Called between steps, and as what work tells its progress to.

        Raises:
            Lost: it does not hold any more.
        """
        if self._lost.is_set():
            raise Lost

    def wait(self, seconds: float = _LOOK_S) -> None:
        """Wait a little. Raises Lost as soon as the claim is lost."""
        self._lost.wait(seconds)
        self.check()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(_BEAT_S):
            try:
                held = self._queue.beat(self.job, lease_ms=LEASE_MS)
            except (
                StoreError
            ):  # the database is busy or its disk is full: until the lease ends nobody else begins
                held = time.monotonic() - last < LEASE_MS / 2000
            else:
                last = time.monotonic()
            if not held:
                self._lost.set()
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """
    Hold a folder for this process, and remove what a killed one left half-made in it.

    Two workers never write one job's folder at once, even where one of them has not noticed yet that its claim is gone.

    Raises:
        StoreError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": folder, "because": exc.strerror}) from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob(".*.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield

"""The worker that the service starts itself: watched, started again when it is killed, ended with the service."""

from __future__ import annotations

import contextlib
import logging
import secrets
import sys
import threading
from pathlib import Path
from typing import Final

from recert.errors import RecertError
from recert.gateway.engines.child import ChildProcess
from recert.service.workers.queue import JobQueue

log = logging.getLogger("recert.service")

_SOONEST_S: Final = 1.0
_LATEST_S: Final = 60.0
_END_S: Final = 10.0


class OwnWorker:
    """
    One worker as a child process, which ends when this process does, however that ends.

    Args:
        folder: of the service.
        queue: where the claims of a worker that was killed are let go of at once.
    """

    def __init__(self, folder: Path, queue: JobQueue) -> None:
        self._folder, self._queue = folder, queue
        self._child = ChildProcess()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker", daemon=True)

    @property
    def process_id(self) -> int | None:
        """The process that works now; None before the first."""
        return self._child.process_id

    def start(self) -> None:
        """Start it, and keep it running."""
        self._thread.start()

    def stop(self) -> None:
        """End it: a job that is under way goes on when a worker is there again."""
        self._ending.set()
        self._child.end(within_s=_END_S)
        self._thread.join(_END_S)

    def _watch(self) -> None:
        wait_s = _SOONEST_S
        while not self._ending.is_set():
            name = f"own-{secrets.token_hex(6)}"
            command = [sys.executable, "-m", "recert", "service", "worker", "--folder", str(self._folder)]
            code = self._child.run(
                [*command, "--name", name, "--with-parent"], shown=True, unwanted=self._ending.is_set
            )
            if code is None:
                log.error("the worker cannot be started: %s", self._child.last_words[-1])
            elif not self._ending.is_set():
                log.warning("the worker ended with %d; another one is started", code)
            with contextlib.suppress(RecertError):
                self._queue.release(name, counted=not self._ending.is_set())
            self._ending.wait(wait_s)
            wait_s = min(2 * wait_s, _LATEST_S)

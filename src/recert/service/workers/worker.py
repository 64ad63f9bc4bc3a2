"""The worker: one process that screens uploads and does jobs, one after the other, until it is told to end."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

from recert.errors import RecertError, StoreError
from recert.records.data.suite import Suite
from recert.service.settings import ServiceSettings
from recert.service.workers.claim import LEASE_MS
from recert.service.workers.connecting import connect
from recert.service.workers.jobs import attempt, work_on
from recert.service.workers.queue import ENDED, Job
from recert.service.workers.resources import Work
from recert.service.workers.screening import screen_next

log = logging.getLogger("recert.service")

_LOOK_S: Final = 0.3
_STORE_AGAIN_S: Final = 3.0


def run_worker(
    settings: ServiceSettings,
    suites: Mapping[str, Suite],
    *,
    name: str = "",
    with_parent: bool = False,
    apart: bool = False,
    until_idle_s: float = 0,
) -> None:
    """
    Work until the process is ended. May be killed at any time: jobs go on where the next worker finds them.

    Args:
        settings: of the service.
        suites: prompts by the names that the policy's rules use.
        name: what its claims are called by; by default one that is used once.
        with_parent: end as soon as stdin does, which is when the service that started it ends.
        apart: the folder is this worker's own, and copies in it go when they are not needed any more.
        until_idle_s: return once there was nothing to do for so long; 0 for never.

    Raises:
        RecertError: it cannot begin; see `Work.open`.
    """
    work = Work.open(settings, suites)
    called = name or f"worker-{secrets.token_hex(6)}"
    if with_parent:
        threading.Thread(target=_end_with_parent, args=(work, called), name="parent", daemon=True).start()
    worked = _Worked()
    threading.Thread(target=_screen_uploads, args=(work, worked), name="screening", daemon=True).start()
    log.info("%s works for %s", called, settings.folder)
    try:
        while True:
            try:
                job = work.queue.claim(called, lease_ms=LEASE_MS)
                if job is not None:
                    log.info("%s: taken up, attempt %d", job.id, job.attempts)
                    with worked:
                        work_on(work, job, connect if "connect" in job.request else attempt)
                        if apart:
                            _tidy(work, job)
                elif until_idle_s and worked.idle_s > until_idle_s:
                    log.info("%s ends: nothing to do for %g s", called, until_idle_s)
                    return
                else:
                    time.sleep(_LOOK_S)
            except StoreError as exc:
                log.warning("the queue cannot be used: %s", exc.message)
                time.sleep(_STORE_AGAIN_S)
    finally:
        _let_go(work, called)


def _tidy(work: Work, job: Job) -> None:
    """Let go of the copies of a job that has ended, and of the files that it learned from."""
    found = work.queue.find(job.id)
    if found is not None and found.status not in ENDED:
        return
    for file in (job.request.get("training_file"), job.request.get("validation_file")):
        if file:
            work.files.storage.release(work.settings.file_folder(str(file)))
    work.files.storage.release(work.settings.job_folder(job.id))


class _Worked:
    """When anything was last worked on, by either thread."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def idle_s(self) -> float:
        """How long there was nothing to do."""
        return 0 if self._busy else time.monotonic() - self._at

    def __enter__(self) -> None:
        with self._lock:
            self._busy += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._at, self._busy = time.monotonic(), self._busy - 1


def _screen_uploads(work: Work, worked: _Worked) -> None:
    while True:
        try:
            if work.files.unscreened() is None:
                time.sleep(_LOOK_S)
            else:
                with worked:
                    screen_next(work)
        except StoreError as exc:
            log.warning("uploads cannot be screened: %s", exc.message)
            time.sleep(_STORE_AGAIN_S)


def _end_with_parent(work: Work, called: str) -> None:
    """Whatever is under way ends at once: it is done again from the last finished step."""
    while sys.stdin.buffer.read(4096):
        pass
    _let_go(work, called)
    os._exit(0)


def _let_go(work: Work, called: str) -> None:
    try:
        work.queue.release(called, counted=False)
    except RecertError as exc:
        log.warning("claims end by themselves: %s", exc.message)

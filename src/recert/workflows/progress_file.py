"""Progress that others can look at while a command runs: a small file in its folder, written every few seconds."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from recert.errors import RecertError, StoreError
from recert.evaluation.decision.tracks import Track
from recert.evaluation.report.live import EvidencePaths
from recert.policy import EvaluationPolicy
from recert.progress import Progress, Silent
from recert.records.live.progress import RuleProgress, RunProgress, StageProgress
from recert.records.record import now
from recert.store.files.writing import read_bytes, write_atomic

log = logging.getLogger("recert.progress")

FILE: Final = ".progress.json"
"""Hidden: it is no record of what was found, and no reader of records takes it for one."""
BEAT_S: Final = 2.0
"""How often the file is written or touched while the work goes on."""
STALE_S: Final = 20.0
"""A file that was not touched for so long is of work that was killed."""
MOST_BYTES: Final = 4 * 2**20
_SHARE: Final = 0.005
"""Of the time of the work that is spent on telling of it, at most."""


@dataclass
class _Stage:
    name: str
    started_at: datetime
    ended_at: datetime | None = None
    done: int = 0
    of: int = 0
    note: str = ""


@dataclass
class _State:
    stages: list[_Stage] = field(default_factory=list)
    rules: tuple[RuleProgress, ...] = ()
    block: int = 0
    state: Literal["running", "ended", "failed"] = "running"
    reason: str = ""


class ProgressFile:
    """
    Writes how far work is into a folder, and tells another progress the same. Use it as a context manager.

    Telling costs less than a hundredth of the time; what cannot be written is logged and holds up nothing.

    Args:
        folder: of the work.
        name: what the model is called.
        command: `run`, `evaluate` or `service`.
        tell: another progress.
    """

    def __init__(self, folder: Path, name: str, command: str, tell: Progress | None = None) -> None:
        self.path = folder / FILE
        self._name, self._command, self._tell = name, command, tell or Silent()
        self._state, self._began = _State(), now()
        self._paths = EvidencePaths()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._changed, self._told_at = True, float("-inf")
        self._pause_s = BEAT_S
        self._writable = True
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)
        self._before: set[str] | None = None

    def __enter__(self) -> Self:
        self._before = self._beside()
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._end_stage()
            said_no = hasattr(error, "exit_code")  # a command that ends with a no has answered
            self._state.state = "failed" if error is not None and not said_no else "ended"
            self._state.reason = "" if said_no else _why(error)
            self._changed = True
        if self._state.state == "failed" and self._beside() == (self._before or set()):
            self._take_away()
        else:
            self._write()

    def start(self, what: str) -> None:
        """Begin a step."""
        with self._lock:
            self._end_stage()
            self._state.stages.append(_Stage(what, now()))
            self._changed = True
        self._tell.start(what)

    def at(self, done: int, total: int, note: str = "") -> None:
        """Say how far the step is."""
        with self._lock:
            if self._state.stages:
                stage = self._state.stages[-1]
                stage.done, stage.of, stage.note = done, total, note
                self._changed = True
        self._tell.at(done, total, note)

    __call__ = at

    def say(self, line: str) -> None:
        """Tell the other progress."""
        self._tell.say(line)

    def rules(self, tracks: Sequence[Track], policy: EvaluationPolicy) -> None:
        """Take how rules stand; the dear part of it now and then only, and once all are decided."""
        self._paths.take(tracks)
        self._state.block += 1
        decided = all(track.decision is not None for track in tracks)
        if not decided and time.monotonic() - self._told_at < self._pause_s:
            return
        began = time.monotonic()
        told = self._paths.told(tracks, policy)
        with self._lock:
            self._state.rules, self._changed = told, True
        self._told_at = time.monotonic()
        self._pause_s = max(BEAT_S, (self._told_at - began) / _SHARE)

    def _beside(self) -> set[str] | None:
        """What lies in the folder, this file aside; None where there is no folder."""
        try:
            return {one.name for one in self.path.parent.iterdir()} - {FILE}
        except OSError:
            return None

    def _take_away(self) -> None:
        """Leave nothing of work that came to nothing: neither the file, nor a folder that was made for it."""
        with contextlib.suppress(OSError):
            self.path.unlink()
            if self._before is None:
                self.path.parent.rmdir()

    def _end_stage(self) -> None:
        if self._state.stages:
            self._state.stages[-1].ended_at = now()

    def _beat(self) -> None:
        pause_s = BEAT_S
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            self._write()
            pause_s = max(BEAT_S, min(STALE_S / 3, (time.monotonic() - began) / _SHARE))

    def _write(self) -> None:
        try:
            if not self._changed:
                return os.utime(self.path)
            with self._lock:
                record, self._changed = self._record(), False
            write_atomic(self.path, record.to_json())
        except (StoreError, OSError) as exc:
            if self._writable:
                log.warning("progress cannot be written, and the work goes on: %s", exc)
            self._writable, self._changed = False, True

    def _record(self) -> RunProgress:
        state = self._state
        return RunProgress(
            name=self._name,
            command=self._command,
            state=state.state,
            reason=state.reason,
            stages=tuple(StageProgress(**_fields(stage)) for stage in state.stages),
            rules=state.rules,
            block=state.block,
            started_at=self._began,
            written_at=now(),
        )


@dataclass(frozen=True)
class SeenProgress:
    """Progress as it was found in a folder."""

    path: Path
    told: RunProgress
    touched_s: float
    """When the file was written or touched last, in seconds since 1970."""

    @property
    def state(self) -> str:
        """`running`, `ended`, `failed`, or `killed` where nobody touches it any more."""
        if self.told.state == "running" and time.time() - self.touched_s > STALE_S:
            return "killed"
        return self.told.state


def read_progress(path: Path) -> SeenProgress | None:
    """
    Return the progress in a file; None where there is none.

    Raises:
        RecordError: it is damaged, or of another version.
        StoreError: it cannot be read.
    """
    try:
        about = path.stat()
    except OSError:
        return None
    if about.st_size > MOST_BYTES:
        raise StoreError("progress is too long to be one", facts={"file": path, "bytes": about.st_size})
    return SeenProgress(path, RunProgress.from_json(read_bytes(path, "progress")), about.st_mtime)


def _fields(stage: _Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "started_at": stage.started_at,
        "ended_at": stage.ended_at,
        "done": max(0, stage.done),
        "of": max(0, stage.of),
        "note": stage.note,
    }


def _why(error: BaseException | None) -> str:
    """Why work ended early, without anything that an unknown error could hold."""
    if error is None:
        return ""
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    return error.message if isinstance(error, RecertError) else type(error).__name__

"""Runs a Python grader's code in a process apart; see `sandbox_worker.py` for what happens there."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from recert.judges.protocol import JudgeFailed
from recert.labs.graders import sandbox_worker

_PATIENCE_S: Final = 20.0
"""Beyond the code's own time: what the keeper may take to start and to answer on a busy machine."""
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",  # sets of words have one order
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_NOBODY: Final = 65534

PROTECTIONS: Final = (
    "limits",
    "no environment",
    "no network",
    "no other processes",
    "no other files",
    "no privileges",
)
"""What code is held to where the kernel can; docs/concepts/graders.md says what each means."""


@dataclass(frozen=True)
class SandboxLimits:
    """What one call of `grade` may use."""

    wall_s: float = 10.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20
    open_files: int = 32
    output_bytes: int = 65_536


class Sandbox:
    """
    A process that runs `grade(sample, item)` for one sample after the other.

    Every sample starts from the same state. One that takes too long, or kills its process, is a failed one, and the
    next is answered as if nothing had been.

    Args:
        source: the code; it is not run here, not even imported.
        imports: modules that are imported before it runs.
        paths: folders of packages that it may import.
        limits: what each call may use.
    """

    def __init__(
        self,
        source: str,
        *,
        imports: Sequence[str] = (),
        paths: Sequence[str] = (),
        limits: SandboxLimits | None = None,
    ) -> None:
        self._limits = limits or SandboxLimits()
        self._settings = {
            "source": source,
            "imports": list(imports),
            "paths": list(paths),
            **asdict(self._limits),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._left = b""
        self.held: tuple[str, ...] = ()
        """What the kernel holds the code to, once it has started."""

    def run(self, sample: dict[str, Any], item: dict[str, Any]) -> float | JudgeFailed:
        """Return what `grade` returned, or why there is no number."""
        try:
            line = json.dumps({"sample": sample, "item": item}).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as exc:
            return JudgeFailed(f"item or sample is not JSON: {exc}")
        because = self._start()
        if because:
            return JudgeFailed(because)
        answer = self._ask(line)
        if answer is None:
            self.close()
            return JudgeFailed("the process that grades ended or did not answer")
        return answer["value"] if "value" in answer else JudgeFailed(answer["failed"])

    def close(self) -> None:
        """End the process and all that it started, and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()
            process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    def _start(self) -> str:
        """Start the process where none runs, and say what went wrong."""
        if self._process is not None:
            return ""
        try:
            self._folder = tempfile.mkdtemp(prefix="recert-grader-")
            if os.getuid() == 0:
                os.chown(self._folder, _NOBODY, _NOBODY)
            self._process = subprocess.Popen(  # noqa: S603 - this Python, on a file of this package
                [sys.executable, "-P", "-s", "-S", "-B", str(Path(sandbox_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as exc:
            self.close()
            return f"no process can be started: {exc.strerror}"
        self._left = b""
        answer = self._ask(json.dumps({**self._settings, "folder": self._folder}).encode() + b"\n")
        if answer is None or "error" in answer:
            self.close()
            return (
                f"the process that grades could not start: {(answer or {}).get('error', 'it said nothing')}"
            )
        self.held = tuple(answer["held"])
        return ""

    def _ask(self, line: bytes) -> dict[str, Any] | None:
        assert (
            self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        )
        until = time.monotonic() + self._limits.wall_s + _PATIENCE_S
        try:
            while line:  # a pipe takes what it has room for
                line = line[self._process.stdin.write(line) :]
        except OSError:
            return None
        while b"\n" not in self._left:
            wait = until - time.monotonic()
            ready = wait > 0 and select.select([self._process.stdout], [], [], wait)[0]
            some = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
            if not some:
                return None
            self._left += some
        said, _, self._left = self._left.partition(b"\n")
        try:
            answer = json.loads(said)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

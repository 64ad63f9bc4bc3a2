"""A child process: started in a session of its own, heard until it ends, and ended with all that it started."""

from __future__ import annotations

import collections
import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from os import killpg
from pathlib import Path
from typing import IO, Any, Final

from recert.gateway.engines import managed_child

END_S: Final = managed_child.GRACE_S + 2
"""How long a child may take to end by itself."""
_LAST_LINES: Final = 50


class ChildProcess:
    """
    One child at a time. Its standard input stays open: a child ends when that is closed, however we end.

    Ctrl-C on a terminal is for us, who then end it.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.last_words: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        """The last lines that it said, or why it could not be started."""

    @property
    def process_id(self) -> int | None:
        """The process that was started last; None before."""
        return self._child.pid if self._child else None

    @property
    def runs(self) -> bool:
        """Whether it is there."""
        return self._child is not None and self._child.poll() is None

    def run(
        self,
        line: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        wrapped: bool = False,
        shown: bool = False,
        hear: Callable[[Any], None] | None = None,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> int | None:
        """
        Start a program and return its exit code when it has ended; None where it could not be started.

        Args:
            line: the program and its arguments.
            environment: of the program; by default ours.
            folder: where it begins.
            wrapped: run it by `managed_child`, so that a program that knows nothing of us ends with us.
            shown: what it says on its standard error goes where ours goes, and nothing is heard or kept.
            hear: called with each line of JSON on its standard output; other lines are kept as its last words.
            unwanted: asked once it runs: where nobody wants it any more, it is ended at once.
        """
        wrapper = (sys.executable, "-I", "-S", managed_child.__file__) if wrapped else ()
        try:
            child = subprocess.Popen(  # noqa: S603
                [*wrapper, *line],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if shown else subprocess.PIPE,
                stderr=None if shown else subprocess.PIPE,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as exc:
            self.last_words.append(str(exc))
            return None
        self._child = child
        if unwanted():
            self.end()
        listener: threading.Thread | None = None
        if child.stdout and child.stderr:
            listener = threading.Thread(target=self._keep, args=(child.stderr,), daemon=True)
            listener.start()
            if hear is None:
                self._keep(child.stdout)
            else:
                _tell(child.stdout, hear)
            _close(child)  # one that says no more is to end
        code = child.wait()
        _close(child)
        if listener is not None:
            listener.join(END_S)
        return code

    def end(self, *, within_s: float = END_S) -> None:
        """End it with all that it started; one that has ended is left."""
        end_child(self._child, within_s=within_s)

    def _keep(self, said: IO[bytes]) -> None:
        """Keep the last lines of what it says, and let the rest go: logs must not fill a disk."""
        with said, contextlib.suppress(ValueError):
            while line := said.readline(4096):
                self.last_words.append(line.decode("utf-8", "replace").strip()[:300])


def _tell(said: IO[bytes], hear: Callable[[Any], None]) -> None:
    with said:
        for line in said:
            with contextlib.suppress(ValueError):
                hear(json.loads(line))


def end_child(child: subprocess.Popen[Any] | None, *, within_s: float = END_S) -> None:
    """End a child that leads a process group of its own, with all that it started; one that has ended is left."""
    if child is None or child.poll() is not None:
        return
    _close(child)
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            killpg(child.pid, signal.SIGKILL)


def _close(child: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(OSError, ValueError):
        if child.stdin:
            child.stdin.close()

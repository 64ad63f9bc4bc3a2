"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_QUIET_S = 20.0
"""Without a terminal, a step says how far it is at most this often."""


class Drawn:
    """Draws the progress of a run; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, markup=False, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what = ""
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, what: str) -> None:
        """Begin a step."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=None, note="")
        self._what = what
        self._said_at = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{what} ...", soft_wrap=True)

    def at(self, done: int, total: int, note: str = "") -> None:
        """Move the step's bar to `done` of `total`."""
        if self._task is None:
            self.start("working")
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, note=note)
        if not self._console.is_terminal and time.monotonic() - self._said_at > _QUIET_S:
            self._said_at = time.monotonic()
            self._console.print(f"{self._what}: {done} of {total} {note}".rstrip(), soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, soft_wrap=True)

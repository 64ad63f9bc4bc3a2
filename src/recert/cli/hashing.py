"""How far hashing is, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from recert.digest.folders import Progress

_AFTER_S: Final = 1.0
"""What takes less is over before anybody reads it."""


@contextmanager
def hashing_bar(console: Console | None = None) -> Iterator[Progress]:
    """Give what is told how many bytes were read: on a terminal a bar shows it, once a second has passed."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from recert.cli.printing import talk

    console = console or talk()
    began, task = time.monotonic(), None
    with ExitStack() as shown:

        def told(done: int, total: int) -> None:
            nonlocal task
            if task is None and console.is_terminal and time.monotonic() - began > _AFTER_S:
                shown.enter_context(bar)
                task = bar.add_task("hashing", total=total)
            if task is not None:
                bar.update(task, completed=done)

        columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            *columns,
            console=console,
            transient=True,
        )
        yield told

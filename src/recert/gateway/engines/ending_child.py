"""How a child process of the gateway is ended: its standard input is closed, and it is killed if it does not go."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from os import killpg
from typing import Any, Final

from recert.gateway.engines import managed_child

END_S: Final = managed_child.GRACE_S + 2
"""How long a child may take to end by itself."""


def end_child(child: subprocess.Popen[Any] | None, *, within_s: float = END_S) -> None:
    """End a child that leads a process group of its own, with all that it started; one that has ended is left."""
    if child is None or child.poll() is not None:
        return
    with contextlib.suppress(OSError, ValueError):
        if child.stdin:
            child.stdin.close()
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            killpg(child.pid, signal.SIGKILL)

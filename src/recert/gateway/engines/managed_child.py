"""
Run an engine that knows nothing of us, so that it ends with us: `python -I -S managed_child.py PROGRAM ARGUMENT...`.

A process of its own, in a session of its own, that needs nothing but the standard library. It starts the program with
core files off, a closed umask and no way to gain rights. When stdin closes it ends the program, and all that the
program started; when the program ends, so does everything else of the session.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from typing import Final

GRACE_S: Final = 5.0
"""How long a program may take to end by itself."""
_DIE_WITH_PARENT: Final = 1
_NO_NEW_RIGHTS: Final = 38
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The gateway ends us by closing stdin."""


def _close_up() -> None:
    """What the program starts with: run between fork and exec, in a process that has one thread."""
    for one in _IGNORED:
        signal.signal(one, signal.SIG_DFL)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts
    if sys.platform == "linux":
        control = ctypes.CDLL(None).prctl
        control(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        control(_NO_NEW_RIGHTS, 1, 0, 0, 0)


def _end_with_gateway(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    program.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> None:
    """Run a command until it ends, or stdin closes."""
    for one in _IGNORED:
        signal.signal(one, signal.SIG_IGN)
    if os.getpgid(0) != os.getpid():
        os.setsid()
    try:
        program = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=_close_up,  # noqa: PLW1509
        )
    except OSError as exc:
        sys.stderr.write(f"cannot start {command[0]}: {exc.strerror}\n")
        sys.exit(127)
    threading.Thread(target=_end_with_gateway, args=(program,), daemon=True).start()
    code = program.wait()
    sys.stderr.write(f"the engine's process ended with {code}\n")
    sys.stderr.flush()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

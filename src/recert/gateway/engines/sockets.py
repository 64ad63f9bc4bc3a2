"""Folders for Unix sockets that only this user can reach."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from recert.errors import GatewayError

_LONGEST_SOCKET_PATH: Final = 100
"""A Unix socket's path has 107 bytes on Linux and 103 elsewhere."""


def socket_folder() -> Path:
    """
    Return a new folder that only this user can enter, with a path short enough for a socket in it.

    It lies among temporary files, or, where `TMPDIR` is too long, in the user's runtime folder or `/tmp`.

    Raises:
        GatewayError: `no-socket`: there is no folder short enough.
    """
    for place in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), str(Path(os.sep, "tmp"))):
        if place and len(os.fsencode(place)) + len("/recert-12345678/engine.sock") <= _LONGEST_SOCKET_PATH:
            try:
                return Path(tempfile.mkdtemp(prefix="recert-", dir=place))
            except OSError:
                continue
    raise GatewayError(
        "no-socket",
        "no folder for the engine's socket is short enough and can be written",
        facts={"TMPDIR": tempfile.gettempdir()},
        hint="set TMPDIR to a shorter folder",
    )

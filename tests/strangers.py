"""Somebody else on the same machine: tries what another user could."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def as_stranger(act: Callable[[], object]) -> str:
    """Do something as another user, in a process of its own; return the name of the error it met, or nothing."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        met = ""
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except BaseException as exc:
            met = type(exc).__name__
        os.write(write, met.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        met = said.read()
    os.waitpid(child, 0)
    return met

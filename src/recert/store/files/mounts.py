"""Whether a file system stayed mounted: the kernel's number of a mount, which no other mount gets until a restart."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_MNT_ID_UNIQUE: Final = 0x4000
"""Linux 6.8 and later. The older number, which `/proc/self/mountinfo` shows, is given out again after an unmount."""
_STATX_BYTES: Final = 256
_MOUNT_AT: Final = 0x90


def mount_id(path: Path) -> int | None:
    """Return the number of the mount through which a file is reached now; None where nobody can tell."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        statx = ctypes.CDLL(None).statx
        failed = statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _MNT_ID_UNIQUE, found)
    except (AttributeError, OSError, ctypes.ArgumentError):  # no Linux, or a C library without it
        return None
    if failed or not int.from_bytes(found.raw[:4], sys.byteorder) & _MNT_ID_UNIQUE:
        return None
    return int.from_bytes(found.raw[_MOUNT_AT : _MOUNT_AT + 8], sys.byteorder) or None

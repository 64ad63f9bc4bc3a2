"""When a file that looks as it did when it was hashed is taken for what it was, and not read again."""

from __future__ import annotations

from typing import Final

SETTLED_S: Final = 2.0
"""A file whose times are younger than this, when its hashing began, is not remembered: file times move in steps."""
MOST_AGE_S: Final = 24 * 3600
"""After this every byte is read again."""
FILE_SYSTEMS: Final = frozenset({"ext4", "tmpfs", "xfs"})
"""
Where this machine's kernel sets the time of change, at every change of mode above all, and nobody else does.

Servers and FUSE say what they like of times. Where nobody has looked, every byte is read.
"""

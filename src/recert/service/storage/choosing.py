"""
Where what the service makes lies: in its folder, or in a bucket of which the folder holds copies.

Whoever made something writes it into the folder, as ever, and then says `keep`; whoever needs something says `fetch`
before it looks. In the folder that several processes share both have nothing to do.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from recert.errors import RecordError, StoreError
from recert.service.workers.queue import Job


class StorageUnreachable(StoreError):
    """The bucket does not answer, or will not let us in: what needs it waits."""


class ObjectDamaged(RecordError):
    """What the bucket holds is not what was kept there, or is gone: nobody uses it."""


class Storage(Protocol):
    """Where uploads and artefacts lie. A path is that of a file or a folder in the service's folder."""

    def check(self) -> None:
        """Return when it can be used. Raises StoreError."""

    def keep(self, path: Path, *, claimed: Job | None = None) -> None:
        """
        Keep what lies at a path now, in place of what was kept of it before: all of it or nothing.

        Args:
            path: a file or a folder; names that begin with a dot are left out.
            claimed: keep it only while this claim on a job holds.

        Raises:
            Lost: the claim does not hold any more; nothing was kept.
            StoreError: it cannot be kept.
        """

    def fetch(self, path: Path, *, exact: bool = True) -> Path:
        """
        Return a path at which lies what was kept of it, byte for byte.

        Args:
            path: a file or a folder.
            exact: and nothing else; otherwise what was made here, and not kept yet, stays beside it.

        Raises:
            ObjectDamaged: it is gone, or not what was kept.
            StoreError: it cannot be fetched.
        """
        ...

    def delete(self, path: Path) -> None:
        """Delete what is kept of a path, and what lies there. Raises StoreError."""

    def release(self, path: Path) -> None:
        """Let go of the copies at a path; what is kept stays."""

    def sweep(self) -> int:
        """Delete what killed processes left behind; return how much that was. Raises StoreError."""
        ...


class LocalFolder:
    """The service's folder itself: whatever is written there whole is kept."""

    def check(self) -> None:
        """Return at once."""

    def keep(self, path: Path, *, claimed: Job | None = None) -> None:
        """Return at once: it lies there already."""

    def fetch(self, path: Path, *, exact: bool = True) -> Path:
        """Return the path."""
        return path

    def delete(self, path: Path) -> None:
        """Delete what lies there."""
        remove(path)

    def release(self, path: Path) -> None:
        """Return at once: there are no copies."""

    def sweep(self) -> int:
        """Return 0: what is half-written is removed when its folder is next used."""
        return 0


def remove(path: Path) -> None:
    """Remove a file or a folder, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

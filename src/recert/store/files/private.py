"""Files that only their owner may read: secrets that no record, log or error ever shows."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from recert.errors import RecertError, SettingsError, SigningKeyError, StoreError

_MAC_KEY_BYTES: Final = 64


def own_folder(folder: Path, what: str, setting: str) -> None:
    """
    Make a folder that only this user can enter, or make sure that nobody else can write to the one that is there.

    Args:
        folder: the folder.
        what: what it is for, for errors.
        setting: names the folder to use instead.

    Raises:
        SettingsError: it belongs to, or can be written by, somebody else.
        StoreError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError as exc:
        raise StoreError("cannot make folder", facts={"folder": folder, "because": exc.strerror}) from exc
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise SettingsError(
            f"the folder for {what} can be written by others",
            facts={"folder": folder, "owner": about.st_uid, "mode": oct(stat.S_IMODE(about.st_mode))},
            hint=f"set {setting} to a folder of your own, or take the folder away",
        )


def own_mac_key(path: Path, what: str) -> bytes:
    """
    Return the key with which this user authenticates what it keeps; it is made where there is none.

    One that is damaged, or that others could read, is replaced: what it authenticated counts no more.

    Args:
        path: its file, of mode 0600.
        what: what it is, for errors.

    Raises:
        StoreError: there is none, and it cannot be written.
        SigningKeyError: it is open to others, or a link, and cannot be replaced.
    """
    with contextlib.suppress(RecertError):
        found = read_private(path, what, most_bytes=_MAC_KEY_BYTES + 1)
        if len(found) == _MAC_KEY_BYTES and path.lstat().st_uid == os.geteuid():
            return found
    with contextlib.suppress(OSError, StoreError):  # another process may have made it meanwhile
        path.unlink(missing_ok=True)
        write_private(path, what, secrets.token_bytes(_MAC_KEY_BYTES))
    found = read_private(path, what, most_bytes=_MAC_KEY_BYTES)
    if len(found) != _MAC_KEY_BYTES or path.lstat().st_uid != os.geteuid():
        raise StoreError(f"the {what} is damaged, or another user's", facts={"file": path})
    return found


def read_private(path: Path, what: str, *, most_bytes: int) -> bytes:
    """
    Return what a file of mode 0600 holds.

    Args:
        path: the file.
        what: what it is, for errors.
        most_bytes: what follows is not read.

    Raises:
        StoreError: it cannot be read.
        SigningKeyError: others than the owner may read or write it, or it is a link.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as exc:
        raise StoreError(f"cannot read the {what}", facts={"file": path, "because": exc.strerror}) from exc
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
            raise SigningKeyError(
                f"the file of the {what} is open to others",
                facts={"file": path, "mode": oct(stat.S_IMODE(about.st_mode)), "expected": "0o600"},
                hint=f"run `chmod 600 {path}`, and make a new {what} if others could have read it",
            )
        return file.read(most_bytes)


def write_private(path: Path, what: str, data: bytes) -> None:
    """
    Write a new file of mode 0600.

    Raises:
        StoreError: the file exists already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise StoreError(f"cannot write the {what}", facts={"file": path, "because": exc.strerror}) from exc
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise StoreError(f"cannot write the {what}", facts={"file": path, "because": exc.strerror}) from exc

"""
The file in which an issuer's memory lies: what was signed with the keys of this user, written before it is released.

It lies apart from the lists and logs that it is about: whoever puts an old copy of those in place must not be able to
put an old memory there too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import RecordError, SettingsError, StoreError
from recert.records.signed.issued import IssuerMemory
from recert.store.files.writing import read_bytes, write_atomic

_WAY_OUT: Final = (
    "put it back from a copy; or remove {lock} and begin anew, but only if the newest status list and log are at hand: "
    "nothing older can be told from them then"
)


class HeldMemory:
    """
    An issuer's memory while one process holds it; `hold_memory` makes one.

    `content` is what is remembered. `keep` writes it anew, to the disk, before it returns.
    """

    def __init__(self, path: Path, content: IssuerMemory, lock: int) -> None:
        self.path = path
        self.content = content
        self._lock = lock

    def keep(self, content: IssuerMemory) -> None:
        """
        Remember this from now on, whatever happens to the machine next.

        Raises:
            StoreError: it cannot be written; what was remembered before stays.
        """
        line = content.to_json()
        write_atomic(self.path, line + b"\n" + sha256_bytes(line).encode() + b"\n", mode=0o600)
        try:
            if not os.fstat(self._lock).st_size:
                os.write(self._lock, b"written\n")  # from now on its absence is damage
            os.fsync(self._lock)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise _unwritten(self.path, exc) from exc
        self.content = content

    def require_apart(self, folder: Path) -> None:
        """
        Return when this does not lie in a folder that it is to be compared with.

        Raises:
            SettingsError: it does: whoever sets the folder back would set it back too.
        """
        if folder.resolve() == self.path.resolve().parent:
            raise SettingsError(
                "the memory of what was issued lies beside what it is compared with",
                facts={"file": self.path, "folder": folder},
                hint="set RECERT_ISSUED to a file elsewhere",
            )


@contextmanager
def hold_memory(path: Path | None = None) -> Iterator[HeldMemory]:
    """
    Hold an issuer's memory: read the newest list, issue and write the new one within.

    A list that was issued within counts as written once the block ends well. If it does not, the next command must
    make the same list again, or recover.

    Args:
        path: the file; by default that of the settings.

    Raises:
        StoreError: it cannot be read or written.
        RecordError: it is damaged or gone, or others than its owner may write it.
    """
    path = path or settings.issued_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unwritten(path, exc) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        memory = HeldMemory(path, _read(path), lock)
        yield memory
        if any(one.pending for one in memory.content.status_lists.values()):
            memory.keep(_released(memory.content))
    finally:
        os.close(lock)


def _released(content: IssuerMemory) -> IssuerMemory:
    done = {"pending": False, "based_on": None}
    lists = {name: one.model_copy(update=done) for name, one in content.status_lists.items()}
    return content.model_copy(update={"status_lists": lists})


def _read(path: Path) -> IssuerMemory:
    lock = _lock_path(path)
    if not path.exists():
        if lock.stat().st_size:
            raise RecordError(
                "what was issued before is gone", facts={"file": path}, hint=_WAY_OUT.format(lock=lock)
            )
        return IssuerMemory()
    line, _, digest = read_bytes(path, "memory of what was issued").partition(b"\n")
    try:
        if path.stat().st_mode & 0o022:
            raise RecordError("others than its owner may write it")
        if digest != sha256_bytes(line).encode() + b"\n":
            raise RecordError("its digest is another")
        memory = IssuerMemory.from_json(line)
        if memory.schema_version != 1:
            raise RecordError("of another version", facts={"schema_version": memory.schema_version})
    except RecordError as exc:
        raise RecordError(
            "what was issued before cannot be relied on",
            facts={"file": path, "because": exc.message, **exc.facts},
            hint=_WAY_OUT.format(lock=f"it and {lock}"),
        ) from exc
    return memory


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _unwritten(path: Path, exc: OSError) -> StoreError:
    return StoreError(
        "cannot remember what is issued, so nothing is signed",
        facts={"file": path, "because": exc.strerror},
        hint="set RECERT_ISSUED to a file in a folder that this user can write, away from the lists",
    )

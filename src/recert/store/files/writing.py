"""Writing files so that nothing half-written ever looks whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from recert.errors import StoreError


def write_atomic(path: Path, data: bytes | IO[bytes], *, mode: int = 0o644) -> None:
    """
    Write a file in one step: readers see the old content or all of the new, never a part.

    `data` is the content, or an open file that is copied from where it stands.

    Raises:
        StoreError: the disk is full, or the folder cannot be written. The old file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as exc:
        raise StoreError("cannot write file", facts={"file": path, "because": exc.strerror}) from exc
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as exc:
        Path(temporary).unlink(missing_ok=True)
        raise StoreError("cannot write file", facts={"file": path, "because": exc.strerror}) from exc
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def publish_folder(target: Path) -> Iterator[Path]:
    """
    Give a temporary folder to fill; it becomes `target` when the block ends well, else it is removed.

    An existing `target` is replaced.

    Raises:
        StoreError: the disk is full, or the folder cannot be written. The old folder stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        temporary.chmod(0o755)
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": target, "because": exc.strerror}) from exc
    try:
        yield temporary
        if target.exists():
            old = temporary.with_name(temporary.name + ".old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    except OSError as exc:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(
            "cannot write folder", facts={"folder": target, "because": exc.strerror or exc}
        ) from exc
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_bytes(path: Path, what: str = "file") -> bytes:
    """
    Return a file's bytes.

    Raises:
        StoreError: it cannot be read; `what` names it.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StoreError(f"cannot read {what}", facts={"file": path, "because": exc.strerror}) from exc


def append_line(path: Path, line: bytes) -> None:
    """
    Append a line to a file and sync it. What a crash left of an earlier line is cut off.

    Raises:
        OSError: the disk is full or fails; the file is as it was before.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = os.lseek(file, 0, os.SEEK_END)
        tail = os.pread(file, 65536, max(0, end - 65536))
        whole = end - len(tail) + tail.rfind(b"\n") + 1
        os.ftruncate(file, whole)
        try:
            os.lseek(file, whole, os.SEEK_SET)
            while line:
                line = line[os.write(file, line) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, whole)
            raise
    finally:
        os.close(file)

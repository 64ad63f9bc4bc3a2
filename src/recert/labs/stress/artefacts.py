"""Attack artefacts on disk: made in a locked scratch folder, marked before they have weights, deleted after."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recert.certification.verifier.artefact import mark_folder, mark_weights
from recert.errors import InputError, StoreError

KEPT = "artefacts"
"""Where artefacts go that are asked for; each keeps its mark."""
_SCRATCH = "scratch"


def require_folder(output: Path) -> None:
    """
    Return where an output can be a folder.

    Raises:
        InputError: it is a file.
    """
    if output.is_file():
        raise InputError("output is a file, expected a folder", facts={"output": output})


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """
    Hold an output folder for one run alone; what an earlier one left of its artefacts is deleted.

    Raises:
        InputError: it is a file.
        StoreError: another run works in it, or it cannot be written.
    """
    require_folder(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / ".lock").open("w")
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": output, "because": exc.strerror}) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise StoreError(
                "another stress test works in this folder",
                facts={"folder": output},
                hint="wait for it, or give another --output",
            ) from exc
        shutil.rmtree(output / _SCRATCH, ignore_errors=True)
        yield


class Artefacts:
    """
    Gives a marked folder for each tune, and deletes it when the tune was measured.

    Args:
        output: the folder of the stress test, held by `locked`.
        keep: keep what was made, marked, below `artefacts`.
    """

    def __init__(self, output: Path, *, keep: bool = False) -> None:
        self._output, self._keep = output, keep

    @contextmanager
    def marked(self, key: str) -> Iterator[Path]:
        """
        Give an empty folder that is marked as an attack artefact; call `seal` on it once it has weights.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        try:
            (self._output / _SCRATCH).mkdir(mode=0o700, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._output / _SCRATCH))
        except OSError as exc:
            raise StoreError(
                "cannot write folder", facts={"folder": self._output, "because": exc.strerror}
            ) from exc
        try:
            mark_folder(folder)
            yield folder
            if self._keep:
                self._put_aside(folder, key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def seal(folder: Path) -> None:
        """
        Put the mark into the weights too, so that a copy of them without the folder is known.

        Raises:
            StoreError: a file cannot be written.
        """
        mark_weights(folder)

    def _put_aside(self, folder: Path, key: str) -> None:
        target = self._output / KEPT / key[:16]
        try:
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
        except OSError as exc:
            raise StoreError(
                "cannot write folder", facts={"folder": target, "because": exc.strerror}
            ) from exc

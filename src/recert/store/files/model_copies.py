"""
What models are loaded from: a private copy of their folder, hashed while it was written.

So what is hashed is what is read, whatever is renamed or written in the folder meanwhile. A copy is removed once its
model is loaded. Copies of bases can be kept: they are large, and many tunes of one base are evaluated.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from recert import settings
from recert.digest import sha256_bytes
from recert.digest.folders import list_files
from recert.errors import CopyError, ModelError, RecertError, VerificationError
from recert.records.data.manifest import Manifest
from recert.store.files.private import own_folder
from recert.store.files.private_copy import PrivateCopy, look_at, remove

Copying = Literal["once", "keep", "none"]
"""Copy and remove; copy and keep for the next run; or load in place, as the folder is a private copy already."""

_RUN: Final = "run-"
_KEPT: Final = "base-"
_STALE_S: Final = 3600
CHECKED: dict[Path, PrivateCopy] = {}
"""Kept copies of which this process has hashed every byte."""


@contextlib.contextmanager
def model_files(folder: Path, copying: Copying = "once") -> Iterator[PrivateCopy]:
    """
    Give the files of a model's folder to load from: `folder` of what is given, of which `manifest` is true.

    Its last part is the name of the folder that was asked for. Load inside the context: with `once` the copy is
    removed behind it, on errors and interruptions too.

    Raises:
        InputError: the folder is missing or empty, or holds links or odd names.
        StoreError: it cannot be read, or was touched while it was copied.
        CopyError: there is no room for the copy.
        SettingsError: others can write where copies lie (`RECERT_COPIES`).
        ModelError: files changed while they were loaded.
    """
    folder = folder.resolve()
    with contextlib.ExitStack() as stack:
        if copying == "none":
            look = look_at(folder)
            copy = PrivateCopy(folder, Manifest.of_folder(folder), look)
        elif copying == "keep":
            copy = _kept(folder)
        else:
            copy = PrivateCopy.of(folder, stack.enter_context(_of_this_run()) / folder.name)
        yield copy
        try:
            copy.still()
        except VerificationError as exc:
            raise ModelError("model files changed while they were loaded", facts={"folder": folder}) from exc


def _kept(folder: Path) -> PrivateCopy:
    """A copy that is kept, or a new one. A kept one is hashed once in a process, and replaced where it is not right."""
    place = _place()
    sizes = {name: seen.size_bytes for name, seen in list_files(folder).items()}
    if any(_sizes(kept / folder.name) == sizes for kept in place.glob(f"{_KEPT}*")):
        manifest = Manifest.of_folder(folder)
        if (copy := _right(_kept_place(manifest, folder.name), manifest)) is not None:
            return copy
    with _of_this_run() as run:
        made = PrivateCopy.of(folder, run / folder.name)
        kept = _kept_place(made.manifest, folder.name)
        try:
            run.rename(kept.parent)
        except OSError:  # one is there: another process was faster, or it is not right
            if (copy := _right(kept, made.manifest)) is not None:
                return copy
            remove(kept.parent)
            try:
                run.rename(kept.parent)
            except OSError as exc:
                raise _no_copy(kept, exc) from exc
    CHECKED[kept] = PrivateCopy(kept, made.manifest, look_at(kept))
    return CHECKED[kept]


def _right(kept: Path, manifest: Manifest) -> PrivateCopy | None:
    """A kept copy that only this user could write, and that holds what it should."""
    try:
        checked = CHECKED.get(kept)
        if checked is not None:
            checked.still()
            return checked
        about, look = kept.parent.lstat(), look_at(kept)
        closed = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
        if not closed or Manifest.of_folder(kept) != manifest or look_at(kept) != look:
            return None
    except (OSError, RecertError):
        CHECKED.pop(kept, None)
        return None
    CHECKED[kept] = PrivateCopy(kept, manifest, look)
    return CHECKED[kept]


def _kept_place(manifest: Manifest, name: str) -> Path:
    return _place() / f"{_KEPT}{manifest.digest}-{sha256_bytes(os.fsencode(name))[:8]}" / name


def _sizes(folder: Path) -> dict[str, int] | None:
    try:
        return {name: seen.size_bytes for name, seen in list_files(folder).items()}
    except RecertError:
        return None


def _place() -> Path:
    place = settings.copies_dir()
    own_folder(place, "copies of models", "RECERT_COPIES")
    return place.resolve()


@contextlib.contextmanager
def _of_this_run() -> Iterator[Path]:
    """Give a new private folder, locked while it is in use. Those of processes that were killed are removed."""
    place = _place()
    for left in place.glob(f"{_RUN}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                with _locked(left):
                    remove(left)
    run = place / f"{_RUN}{secrets.token_hex(8)}"
    try:
        run.mkdir(mode=0o700)
    except OSError as exc:
        raise _no_copy(run, exc) from exc
    try:
        with _locked(run):
            yield run
    finally:
        if run.exists():
            remove(run)


def _no_copy(folder: Path, exc: OSError) -> CopyError:
    return CopyError(
        "no-copy",
        "cannot make the private copy that the model is loaded from",
        facts={"copy": folder, "because": exc.strerror or exc},
        hint="say where copies may lie: RECERT_COPIES",
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder. Raises OSError where somebody else has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)

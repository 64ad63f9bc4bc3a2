"""
Copying a model folder so that what was verified is what is served: each byte is hashed as it is copied.

The copy lies where nobody else writes, such as a pod's `emptyDir`; whoever changes the source later changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recert.certification.verifier.artefact import attack_mark
from recert.certification.verifier.folders import require_same
from recert.digest import list_folder
from recert.errors import GatewayError, InputError, StoreError, VerificationError
from recert.records.data.manifest import Manifest
from recert.store.files.private_copy import PrivateCopy, remove

STAGING: Final = ".recert-"
"""How folders are called that are filled and then moved from."""
_NOT_OURS: Final = frozenset({"lost+found"})
"""What a fresh volume holds by itself."""
_SHOWN: Final = 20


def copy_certified(arm: str, certified: Manifest, source: Path, target: Path) -> bool:
    """
    Copy a folder's certified files into `target`, read-only, and nothing else ever.

    A `target` that holds exactly the certified files already is left as it is. What a run that was killed left
    half-done there is removed.

    Returns:
        Whether anything was copied.

    Raises:
        VerificationError: the source is not what was certified; `target` then holds nothing of it.
        InputError: the source holds links, or `target` holds something else.
        StoreError: a file cannot be read or written.
    """
    if is_filled(target):
        require_filled(arm, certified, target)
        return False
    _require_listed(arm, certified, source)
    with _staging(target) as staging:
        try:
            PrivateCopy.make(source, certified, staging / "copy")
        except GatewayError as exc:
            raise StoreError("cannot copy the model", facts=exc.facts) from exc
        _require_unmarked(arm, staging / "copy")
        _move_up(staging / "copy", target)
    return True


def adopt_certified(arm: str, certified: Manifest, fetched: Path, target: Path) -> None:
    """
    Move certified files out of a folder that only we write to, once each was hashed there. Other files stay behind.

    Args:
        arm: `base` or `tuned`, for errors.
        certified: what they must be.
        fetched: where a download lies, on the file system of `target`.
        target: a folder that is empty but for the download.

    Raises:
        VerificationError: a file is missing or is not what was certified; `target` then holds nothing of it.
        InputError: the download holds links.
        StoreError: a file cannot be read or moved.
    """
    hashed = {f.name: f for f in Manifest.of_folder(fetched).files}
    kept = tuple(hashed[f.name] for f in certified.files if f.name in hashed)
    if len(kept) < len(certified.files):
        _require_listed(arm, certified, fetched, extra=True)
    with _staging(target) as staging:
        for entry in certified.files:
            place = staging / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            (fetched / entry.name).rename(place)
        require_same({arm: certified}, {arm: Manifest(files=kept)})
        _require_unmarked(arm, staging)
        _move_up(staging, target)


def is_filled(target: Path) -> bool:
    """
    Say whether a folder holds anything. What a run that was killed left half-done there is removed first.

    Raises:
        StoreError: the folder cannot be read.
    """
    try:
        for left in target.glob(f"{STAGING}*"):
            remove(left)
        return target.exists() and any(path.name not in _NOT_OURS for path in target.iterdir())
    except OSError as exc:
        raise StoreError("cannot read folder", facts={"folder": target, "because": exc.strerror}) from exc


def require_filled(arm: str, certified: Manifest, target: Path) -> None:
    """
    Return when a folder that is filled holds exactly the certified files: a container that starts again.

    Raises:
        InputError: it holds something else, which is never removed.
        StoreError: a file cannot be read.
    """
    try:
        require_same({arm: certified}, {arm: Manifest.of_folder(target)})
    except VerificationError as exc:
        raise InputError(
            "output folder holds something else",
            facts={"folder": target, **exc.facts},
            hint="give an empty folder",
        ) from exc


def _require_listed(arm: str, certified: Manifest, source: Path, *, extra: bool = False) -> None:
    """Names and sizes first: they cost nothing, and a model takes minutes to copy."""
    sizes = {name: (source / name).stat().st_size for name in list_folder(source)}
    wanted = {f.name: f.size_bytes for f in certified.files}
    said = [
        *(("file-missing", name, "") for name in wanted if name not in sizes),
        *(
            ("file-differs", name, f": certified {size} bytes, on disk {sizes[name]}")
            for name, size in wanted.items()
            if name in sizes and sizes[name] != size
        ),
        *(("extra-file", name, "") for name in sizes if name not in wanted and not extra),
    ]
    if said:
        raise VerificationError(
            said[0][0],
            f"certificate is for another {arm} model",
            facts={
                f"{n} {reason}": f"{arm}/{name}{more}"
                for n, (reason, name, more) in enumerate(said[:_SHOWN], start=1)
            },
            hint="restore the certified files, or evaluate and certify these",
        )


def _require_unmarked(arm: str, folder: Path) -> None:
    mark = attack_mark(folder)
    if mark is not None:
        raise VerificationError(
            "attack-artefact",
            "model is marked as made to do harm",
            facts={"arm": arm, "mark": mark},
            hint="never serve it; delete it",
        )


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder inside the target, so that a volume's own mount point can be filled; removed in the end."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=target))
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": target, "because": exc.strerror}) from exc
    try:
        yield staging
    finally:
        remove(staging)


def _move_up(staging: Path, target: Path) -> None:
    try:
        staging.chmod(0o700)
        for path in sorted(staging.iterdir()):
            for inner in (path, *path.rglob("*")):
                inner.chmod(0o555 if inner.is_dir() else 0o444)
            path.rename(target / path.name)
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": target, "because": exc.strerror}) from exc

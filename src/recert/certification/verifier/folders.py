"""What lies on disk against what was certified: every file, by name, size and sha256."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert import settings
from recert.certification.verifier.artefact import attack_mark
from recert.digest import hash_folders, read_folders
from recert.digest.folders import Progress
from recert.errors import StoreError, VerificationError
from recert.records.data.manifest import Manifest
from recert.records.signed.certificate import Certificate
from recert.store.files.known_files import KnownFiles

_SHOWN: Final = 20
"""Differences listed in an error; the rest are counted."""

_ORDER: Final = ("file-renamed", "file-missing", "file-differs", "extra-file")


@dataclass(frozen=True)
class Reading:
    """
    How the files of a model are read.

    Args:
        known: files that were hashed before. By default none are known, and every byte of all is hashed.
        progress: told how many bytes of how many were read.
    """

    known: KnownFiles | None = None
    progress: Progress = lambda done, total: None


EVERY_BYTE: Final = Reading()


def hash_both(base_dir: Path, tuned_dir: Path) -> tuple[Manifest, Manifest]:
    """
    Return the manifests of two folders, hashed at the same time.

    Raises:
        InputError: a folder is missing, empty or holds a link.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """
    found = hash_each({"base": base_dir, "tuned": tuned_dir})
    return found["base"], found["tuned"]


def hash_each(folders: Mapping[str, Path], reading: Reading = EVERY_BYTE) -> dict[str, Manifest]:
    """
    Return the manifest of each folder. The files of all are hashed together, on `RECERT_THREADS` threads.

    Raises:
        InputError: a folder is missing, empty or holds a link.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """
    threads, known = settings.threads(), reading.known
    if known is None:
        found = hash_folders(folders, threads=threads, progress=reading.progress)
    else:
        found = read_folders(folders, known.read, threads=threads, progress=reading.progress)
        with contextlib.suppress(StoreError):  # a full disk costs the time of hashing again, and no answer
            known.save()
    return {arm: Manifest.of_hashes(files) for arm, files in found.items()}


def require_files(
    certificate: Certificate, folders: Mapping[str, Path], reading: Reading = EVERY_BYTE
) -> None:
    """
    Return when folders hold the certified files of their arms: step 9 of verification, for those that are loaded.

    Args:
        certificate: read by `read_signed`.
        folders: by arm, `base` and `tuned`, or the one of them that is loaded.
        reading: how they are read.

    Raises:
        VerificationError: they do not, or one is marked as an attack artefact.
        InputError: a folder is missing, empty or holds a link.
        StoreError: a file cannot be read, or was touched while it was hashed.
    """
    # 9.1
    found = hash_each(folders, reading)
    # 9.2
    _require_unmarked(*folders.values(), doubtful=False)
    # 9.3
    certified = {"base": certificate.base, "tuned": certificate.tuned}
    require_same({arm: certified[arm] for arm in folders}, found)
    # 9.4
    _require_unmarked(*folders.values(), doubtful=True)


def require_same(certified: Mapping[str, Manifest], found: Mapping[str, Manifest]) -> None:
    """
    Return when each arm's files are the certified ones.

    Args:
        certified: manifest by arm, `base` and `tuned`.
        found: the same, as it lies on disk.

    Raises:
        VerificationError: they are not; the reason is the first of `file-renamed`, `file-missing`,
            `file-differs`, `extra-file` that occurs, and the facts name every file.
    """
    said = [(arm, words) for arm in certified for words in certified[arm].differences(found[arm])]
    if not said:
        return
    # Manifest.differences begins each sentence with the words of its reason code: "file renamed: a is now b"
    coded = [
        (words.partition(":")[0].replace(" ", "-"), arm, words.partition(": ")[2]) for arm, words in said
    ]
    coded.sort(key=lambda item: _ORDER.index(item[0]))
    reason, arm, _ = coded[0]
    facts: dict[str, object] = {}
    for number, (code, where, words) in enumerate(coded[:_SHOWN], start=1):
        facts[f"{number} {code}"] = f"{where}/{words}"
    if len(coded) > _SHOWN:
        facts["and more"] = len(coded) - _SHOWN
    raise VerificationError(
        reason,
        f"certificate is for another {arm} model",
        facts=facts,
        hint="restore the certified files, or evaluate and certify these",
    )


def _require_unmarked(*folders: Path, doubtful: bool) -> None:
    for folder in folders:
        mark = attack_mark(folder, doubtful=doubtful)
        if mark is not None:
            raise VerificationError(
                "attack-artefact",
                "model is marked as made to do harm",
                facts={"folder": folder, "mark": mark},
                hint="never serve it; delete it",
            )

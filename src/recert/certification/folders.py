"""What lies on disk against what was certified: every file, by name, size and sha256."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from recert.errors import VerificationError
from recert.records import Manifest

_SHOWN: Final = 20
"""Differences listed in an error; the rest are counted."""

_ORDER: Final = ("file-renamed", "file-missing", "file-differs", "extra-file")


def hash_both(base_dir: Path, tuned_dir: Path) -> tuple[Manifest, Manifest]:
    """
    Return the manifests of two folders, hashed at the same time.

    Raises:
        InputError: a folder is missing, empty or holds a link.
        StoreError: a file cannot be read.
    """
    found = hash_each({"base": base_dir, "tuned": tuned_dir})
    return found["base"], found["tuned"]


def hash_each(folders: Mapping[str, Path]) -> dict[str, Manifest]:
    """
    Return the manifest of each folder, hashed at the same time.

    Raises:
        InputError: a folder is missing, empty or holds a link.
        StoreError: a file cannot be read.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashing lets go of the interpreter lock
        hashing = {arm: pool.submit(Manifest.of_folder, folder) for arm, folder in folders.items()}
        return {arm: found.result() for arm, found in hashing.items()}


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

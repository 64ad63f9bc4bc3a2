"""Suites of public sets: found in a local copy or downloaded, and read only if they are the bytes they are known by."""

from __future__ import annotations

import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from recert import settings
from recert.digest import sha256_bytes
from recert.errors import MissingExtraError, SuiteError
from recert.evaluation.suites.prompts import prompts_from
from recert.evaluation.suites.public_sets import PUBLIC_SETS, PublicSet
from recert.evaluation.suites.rows import FileRow, FileRows, read_rows
from recert.records.data.suite import Suite
from recert.store.files.writing import write_atomic

GITHUB: Final = "https://raw.githubusercontent.com"
_TIMEOUT_S: Final = 60


def public_suite(name: str, path: Path | None = None, *, sha256: str | None = None) -> Suite:
    """
    Return a public set as a suite.

    Args:
        name: one of `PUBLIC_SETS`.
        path: a local copy: the file, or a folder that holds it by its own name, by the set's name, in the
            layout of its repository, or in that of the Hub's cache. Without it the folder `RECERT_DATA` is
            looked through, and then the file is downloaded at its frozen commit.
        sha256: the digest that the file must have, in place of those it is known by. A set whose digest is
            not known needs one: whoever gives it says that these are the bytes to measure on.

    Returns:
        The suite; its provenance names the repository, the commit, the digest, and whether Recert knew it.

    Raises:
        SuiteError: no such set or file, a file with another digest (both are named), a set whose digest is
            not known without one, a set whose terms must be accepted first, or rows that cannot be read.
        MissingExtraError: it would be downloaded from the Hub, and huggingface_hub is not installed.
        StoreError: the downloaded file cannot be written to the cache.
    """
    one = PUBLIC_SETS.get(name)
    if one is None:
        raise SuiteError("no such public set", facts={"name": name, "there are": ", ".join(PUBLIC_SETS)})
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise SuiteError("not a sha256", facts={"given": sha256}, hint="64 hex digits")
    read = read_rows(find_copy(one, path) or download(one))
    known = _check_digest(one, read, sha256.lower() if sha256 else None)
    kept = [_plain(one, row) for row in read.rows if _belongs(one, row)]
    prompts = prompts_from(
        kept, one.columns, name=one.name, expect=one.expect, categories=one.categories or None
    )
    where = f"{one.page} {one.file} at {one.revision[:12]}"
    return Suite(name=one.name, provenance=f"{where}, sha256:{read.sha256} ({known})", prompts=prompts)


def find_copy(one: PublicSet, path: Path | None) -> Path | None:
    """
    Return a local copy of a set's file, or None where none was named and none lies in `RECERT_DATA`.

    Of several copies in a folder, one with a known digest is taken.

    Raises:
        SuiteError: a path was given and the file is not there.
    """
    folder = path or settings.data_dir()
    if folder is None or folder.is_file():
        return folder
    found = [file for file in dict.fromkeys(_places(one, folder)) if file.is_file()]
    known = [file for file in found[:16] if sha256_bytes(file.read_bytes()) in one.sha256]
    if path is not None and not found:
        raise SuiteError(
            "no copy of the public set there",
            facts={"set": one.name, "folder": path, "looked for": Path(one.file).name},
            hint="name the file itself",
        )
    return next(iter([*known, *found]), None)


def _places(one: PublicSet, folder: Path) -> Iterator[Path]:
    file, ending = Path(one.file), Path(one.file).suffix
    family = [one.name, *([short] if (short := one.name.rpartition("-")[0]) and _is_alone(one) else [])]
    yield from (folder / file, folder / file.name)
    yield from (folder / f"{n}{ending}" for n in family)
    for parent in (one.repository, Path(one.repository).name, *family):
        yield from (folder / parent / file, folder / parent / file.name)
    cached = f"datasets--{one.repository.replace('/', '--')}"
    for root in (folder, folder / "hub"):
        yield root / cached / "snapshots" / one.revision / file
        yield from sorted(root.glob(f"{cached}/snapshots/*/{one.file}"))


def _is_alone(one: PublicSet) -> bool:
    """Whether all sets of a repository are in one file, so that the name before the dash can mean no other."""
    return {other.file for other in PUBLIC_SETS.values() if other.repository == one.repository} == {one.file}


def download(one: PublicSet, *, github: str = GITHUB) -> Path:
    """
    Return a set's file at its frozen commit, downloaded to the cache unless it lies there.

    Raises:
        SuiteError: it cannot be downloaded, its terms were not accepted, or it is not the file that is known.
        MissingExtraError: it lies on the Hub, and huggingface_hub is not installed.
        StoreError: the cache cannot be written.
    """
    if one.source == "hub":
        return _from_hub(one)
    kept = settings.cache_dir() / "suites" / one.repository / one.revision / Path(one.file).name
    if not kept.is_file():
        data = _from_web(one, f"{github}/{one.repository}/{one.revision}/{urllib.parse.quote(one.file)}")
        if sha256_bytes(data) not in one.sha256:
            raise _differs(one, sha256_bytes(data), one.sha256)
        write_atomic(kept, data)
    return kept


def _from_web(one: PublicSet, url: str) -> bytes:
    try:
        if os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "yes", "on"):
            raise OSError("HF_HUB_OFFLINE is set")
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - https of the table above
            data = reply.read()
    except (OSError, ValueError) as exc:
        raise _unreachable(one, exc) from exc
    assert isinstance(data, bytes)
    return data


def _from_hub(one: PublicSet) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError
    except ImportError as exc:
        raise MissingExtraError(
            "downloading from the Hub needs huggingface_hub",
            facts={"set": one.name, "repository": one.repository},
            hint="pip install 'recert[hub]', or give a local copy",
        ) from exc
    try:
        return Path(hf_hub_download(one.repository, one.file, repo_type="dataset", revision=one.revision))
    except GatedRepoError as exc:
        raise SuiteError(
            "the public set is gated",
            facts={"set": one.name, "terms": one.page},
            hint="accept its terms on that page, then set HF_TOKEN to a token of yours; or give a local copy",
        ) from exc
    except Exception as exc:  # the library raises errors of several kinds, its HTTP client's among them
        raise _unreachable(one, exc) from exc


def _unreachable(one: PublicSet, exc: Exception) -> SuiteError:
    because = next((line for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
    gated = " (its terms must be accepted there first)" if one.gated else ""
    return SuiteError(
        "cannot download the public set",
        facts={"set": one.name, "from": f"{one.page}{gated}", "because": because},
        hint="download it by hand and give the file, or put it into the folder RECERT_DATA",
    )


def _check_digest(one: PublicSet, read: FileRows, given: str | None) -> str:
    """Say how the file is known, or refuse it."""
    others = [o.name for o in PUBLIC_SETS.values() if read.sha256 in o.sha256 and o.file != one.file]
    if others and read.sha256 not in one.sha256:
        raise SuiteError(
            "the file is another public set",
            facts={"asked for": one.name, "file": read.name, "it is": ", ".join(others)},
        )
    if given is not None:
        if read.sha256 != given:
            raise _differs(one, read.sha256, (given,))
        return "known" if given in one.sha256 else "digest given by the user, not known to Recert"
    if not one.sha256:
        raise SuiteError(
            "the digest of this public set is not known to Recert",
            facts={"set": one.name, "file": read.name, "sha256": read.sha256, "rows": len(read.rows)},
            hint="look at the file; if it is the right one, give this sha256 with it",
        )
    if read.sha256 not in one.sha256:
        raise _differs(one, read.sha256, one.sha256)
    return "known"


def _differs(one: PublicSet, found: str, expected: tuple[str, ...]) -> SuiteError:
    return SuiteError(
        "the file is not the public set as it is known",
        facts={"set": one.name, "expected sha256": ", ".join(expected), "found sha256": found},
        hint="if this is the file to measure on, give its sha256 with it",
    )


def _belongs(one: PublicSet, row: FileRow) -> bool:
    missing = set(one.where) - set(row.values)
    if missing:
        raise SuiteError(
            "column is missing",
            facts={"set": one.name, row.unit: row.number, "column": ", ".join(sorted(missing))},
        )
    return all(str(row.values[column]) == value for column, value in one.where.items())


def _plain(one: PublicSet, row: FileRow) -> FileRow:
    """The row with the columns of the set's map alone, so that ids and answers of editions do not differ."""
    used = {name for columns in one.columns.values() for name in columns.split("|")}
    values = {column: value for column, value in row.values.items() if column in used}
    category = one.columns.get("category", "")
    if one.codes and category in values:
        values[category] = one.codes.get(str(values[category]), values[category])
    return FileRow(row.unit, row.number, values)

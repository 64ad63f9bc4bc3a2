"""
A storage initializer for KServe that places certified files only.

KServe runs its container with pairs of an address and a folder. Each address is fetched by the command in
`RECERT_FETCH`, or is a mounted folder (`file://`, `recert://`). The folder then holds the certified files of one arm of
one certificate, read-only, or the pod does not start.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from recert.certification.clock import moment
from recert.errors import InputError, StoreError
from recert.interop.attestation.attest import Arm, likeliest, manifest_of, note
from recert.interop.attestation.copying import (
    STAGING,
    adopt_certified,
    copy_certified,
    is_filled,
    require_filled,
)
from recert.interop.attestation.holding import CertificateFiles
from recert.records.signed.attestation import Attestation

_MOUNTED: Final = ("file://", "recert://")
_FETCH_S: Final = 6 * 3600
_ARMS: Final[tuple[Arm, ...]] = ("tuned", "base")


def place_certified(
    files: CertificateFiles,
    pairs: Sequence[tuple[str, Path]],
    *,
    fetch: str = "",
    now: datetime | None = None,
) -> list[Attestation]:
    """
    Put certified files into each folder; return what lies where.

    Args:
        files: the certificates, of which each address holds one arm.
        pairs: address and folder, as KServe gives them.
        fetch: command that is given an address and a folder, and downloads.
        now: the time; the present by default.

    Raises:
        VerificationError: a certificate does not hold, or what was fetched is not what was certified.
        InputError: an address cannot be used, or a folder is not empty.
        StoreError: a download failed, or a file cannot be written.
    """
    at = moment(now)
    choices = [(one, arm) for one in files.read(at) for arm in _ARMS]
    done = []
    for address, target in pairs:
        if is_filled(target):
            one, arm = likeliest(choices, target)
            require_filled(arm, manifest_of(one.certificate, arm), target)
            done.append(note(one, {arm: target}, at, copied=False))
            continue
        mounted = next((Path(address.removeprefix(p)) for p in _MOUNTED if address.startswith(p)), None)
        if mounted is not None:
            one, arm = likeliest(choices, mounted)
            copy_certified(arm, manifest_of(one.certificate, arm), mounted, target)
        else:
            with _fetched(address, target, fetch) as folder:
                one, arm = likeliest(choices, folder)
                adopt_certified(arm, manifest_of(one.certificate, arm), folder, target)
        done.append(note(one, {arm: target}, at, copied=True))
    return done


@contextmanager
def _fetched(address: str, target: Path, fetch: str) -> Iterator[Path]:
    """A download in a folder of its own beside the target's files, where they only need to be moved."""
    if not fetch:
        raise InputError(
            "nothing says how this address is fetched",
            facts={"address": _shown(address)},
            hint="set RECERT_FETCH to a command that takes an address and a folder, or give a mounted file://",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=target))
    except OSError as exc:
        raise StoreError("cannot write folder", facts={"folder": target, "because": exc.strerror}) from exc
    try:
        _run([*shlex.split(fetch), address, str(staging / "fetched")], address)
        yield staging / "fetched"
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(command: list[str], address: str) -> None:
    Path(command[-1]).mkdir()
    try:
        ended = subprocess.run(command, timeout=_FETCH_S, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise StoreError(
            "cannot fetch the model", facts={"address": _shown(address), "because": exc}
        ) from exc
    if ended.returncode:
        raise StoreError(
            "cannot fetch the model", facts={"address": _shown(address), "exit code": ended.returncode}
        )


def _shown(address: str) -> str:
    """An address without what may be a key in it."""
    return address.partition("?")[0]

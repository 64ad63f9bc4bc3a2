"""Which certificate somebody means who gives its file, its serial or the beginning of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from recert.certification import TrustStore

_SERIAL: Final = re.compile(r"[0-9a-f]{8,32}")
_WHOLE: Final = 32

Certificates = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificates",
        metavar="PATH",
        help="Certificates that may be meant: a file, or a folder and all below. Those in the list's folder, and in "
        "the folders in it, are known without. May be repeated.",
    ),
]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="Take a whole serial that no known certificate has, as it is given.")
]


def find_serial(
    given: str, *, status: Path, certificates: Sequence[Path], trust: TrustStore, unknown: bool
) -> str:
    """
    Return the serial of the certificate that is meant.

    Args:
        given: a certificate's file, a serial in any case, or eight signs or more with which one serial begins.
        status: the list, whose entries are known, and beside which certificates lie.
        certificates: where others lie.
        trust: a certificate is known if one of these keys signed it.
        unknown: take a whole serial, or a file that nobody trusted signed, all the same.

    Raises:
        InputError: it is none, or of no known certificate, or several begin so.
        StoreError, RecordError: the file cannot be read, or is no certificate.
    """
    from recert.certification import read_unverified
    from recert.errors import InputError
    from recert.store.files.writing import read_bytes

    serial = given.strip().lower()
    if not _SERIAL.fullmatch(serial):
        if not Path(given).is_file():
            raise InputError(
                "neither a certificate's file nor a serial",
                facts={"given": ascii(given)},
                hint="give the file, 32 hex digits, or the first eight of them or more",
            )
        data = read_bytes(Path(given), "certificate")
        said = read_unverified(data)
        if not unknown and not _signed(data, trust):
            raise InputError(
                "nobody trusted signed this certificate, so its serial may be anything",
                facts={"file": given, "serial": said.serial},
                hint="give the certificate that is served, or --unknown to take this serial all the same",
            )
        return said.serial
    known = {**_listed(status), **dict(_known(status, certificates, trust))}
    found = {one: where for one, where in known.items() if one.startswith(serial)}
    if len(found) > 1:
        raise InputError("several serials begin so", facts=found, hint="give more of it")
    if found:
        return next(iter(found))
    if unknown and len(serial) == _WHOLE:
        return serial
    raise InputError(
        "no known certificate has this serial",
        facts={"given": serial, "looked": f"beside {status}, and in what --certificates names"},
        hint="give the certificate's file; or the whole serial and --unknown, where the certificate is nowhere",
    )


def _known(status: Path, given: Sequence[Path], trust: TrustStore) -> Iterator[tuple[str, str]]:
    """Serials of certificates that somebody trusted signed, and where they lie."""
    from recert.certification import read_unverified
    from recert.certification.signing.envelope import MAX_ENVELOPE_BYTES
    from recert.errors import RecertError
    from recert.store.files.writing import read_bytes

    beside = status.absolute().parent
    paths = [*beside.glob("*.json"), *beside.glob("*/*.json")]
    for one in given:
        paths += one.rglob("*.json") if one.is_dir() else [one]
    for path in dict.fromkeys(paths):
        try:
            if not path.is_file() or path.stat().st_size > MAX_ENVELOPE_BYTES:
                continue
            data = read_bytes(path)
            said = read_unverified(data)
            if _signed(data, trust):
                yield said.serial, str(path)
        except (RecertError, OSError):
            continue  # no certificate


def _listed(status: Path) -> Mapping[str, str]:
    """Serials in the list; whether the list counts is found out when it is issued anew."""
    from recert.certification import Envelope
    from recert.errors import RecertError
    from recert.records.signed.certificate import StatusList
    from recert.store.files.writing import read_bytes

    try:
        said = StatusList.from_json(Envelope.from_json(read_bytes(status, "status list")).payload)
    except RecertError:
        return {}
    return {entry.serial: f"{entry.status} in {status}" for entry in said.entries}


def _signed(envelope: bytes, trust: TrustStore) -> bool:
    from recert.certification import Envelope
    from recert.records.record import now

    return bool(Envelope.from_json(envelope).proven_signers(trust, now=now()))

"""Verify the folders that a model server will load, and copy them to where nobody else writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from recert.certification.clock import moment
from recert.certification.verifier.folders import require_files
from recert.digest import list_folder
from recert.errors import InputError
from recert.interop.attestation.copying import copy_certified
from recert.interop.attestation.holding import CertificateFiles, Held
from recert.records.data.manifest import Manifest
from recert.records.signed.attestation import Attestation, AttestedFolder
from recert.records.signed.certificate import Certificate

Arm = Literal["base", "tuned"]


def attest(
    files: CertificateFiles,
    folders: Mapping[Arm, Path],
    *,
    output: Path | None = None,
    now: datetime | None = None,
) -> Attestation:
    """
    Return what was attested: the folders hold exactly what a certificate says, and it holds now.

    Args:
        files: one certificate, and who is trusted.
        folders: what will be loaded: merged weights alone, or an adapter and its base.
        output: where the folders are copied to, as `base` and `tuned`, hashed while they are copied. None
            verifies them where they lie, which says nothing of what is read there later.
        now: the time; the present by default.

    Raises:
        VerificationError: the certificate does not hold, or a folder is not what was certified. Nothing of it
            is left in `output`.
        InputError: an adapter was given without its base, or a folder cannot be used.
        StoreError: a file cannot be read or written.
    """
    at = moment(now)
    (held,) = files.read(at)
    require_whole(held.certificate, folders)
    if output is None:
        require_files(held.certificate, {str(arm): folder for arm, folder in folders.items()})
        return note(held, dict(folders), at, copied=False)
    placed: dict[Arm, Path] = {}
    for arm, folder in folders.items():
        placed[arm] = output / arm
        copy_certified(arm, manifest_of(held.certificate, arm), folder, placed[arm])
    return note(held, placed, at, copied=True)


def require_whole(certificate: Certificate, folders: Mapping[Arm, Path]) -> None:
    """
    Return when these folders are all that is loaded: merged weights, or an adapter with its base.

    Raises:
        InputError: one is missing.
    """
    if "tuned" not in folders or (certificate.delta_kind == "lora-adapter" and "base" not in folders):
        raise InputError(
            "an adapter is served on its base, and only one of them was given",
            facts={"certified": certificate.delta_kind, "given": ", ".join(folders) or "nothing"},
            hint="give both folders",
        )


def manifest_of(certificate: Certificate, arm: Arm) -> Manifest:
    """Return what an arm's folder must hold."""
    return certificate.base if arm == "base" else certificate.tuned


def likeliest(choices: Sequence[tuple[Held, Arm]], folder: Path) -> tuple[Held, Arm]:
    """
    Return the certificate and arm whose file names and sizes are most like a folder's; bytes decide afterwards.

    Raises:
        InputError: there is no such folder, or it holds links.
    """
    found = {(name, (folder / name).stat().st_size) for name in list_folder(folder)}

    def likeness(choice: tuple[Held, Arm]) -> float:
        wanted = {(f.name, f.size_bytes) for f in manifest_of(choice[0].certificate, choice[1]).files}
        return len(found & wanted) / len(found | wanted)

    return max(choices, key=likeness)


def note(held: Held, placed: Mapping[Arm, Path], at: datetime, *, copied: bool) -> Attestation:
    """Return the record of folders that were verified."""
    return Attestation(
        serial=held.certificate.serial,
        model_name=held.certificate.model_name,
        certificate_sha256=held.envelope_sha256,
        status_version=held.status_version,
        folders=tuple(
            AttestedFolder(
                arm=arm,
                path=str(path),
                manifest_sha256=manifest_of(held.certificate, arm).digest,
                files=len(manifest_of(held.certificate, arm).files),
                size_bytes=sum(f.size_bytes for f in manifest_of(held.certificate, arm).files),
            )
            for arm, path in placed.items()
        ),
        copied=copied,
        attested_at=at,
        expires_at=held.certificate.expires_at,
    )

"""`recert attest` and `recert attest-storage`: certified files for a model server elsewhere, or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson, Certificate, Status, Trust, Tuned

if TYPE_CHECKING:
    from recert.records.signed.attestation import Attestation


def attest(
    *,
    certificate: Certificate,
    model: Tuned,
    trust: Trust,
    base: Annotated[
        Path | None, typer.Option(help="Base model's folder; an adapter needs it, merged weights do not.")
    ] = None,
    status: Status = None,
    policy: Annotated[
        str | None, typer.Option(help="Policy it must be under: a profile, a TOML file, or its sha256.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Empty folder, where certified files are copied to, as `tuned` and `base`."),
    ] = None,
    behind_gateway: Annotated[
        bool,
        typer.Option(
            "--behind-gateway",
            help="Clients reach the model through `recert serve` alone, which applies the controls that its "
            "certificate requires.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Verify what a model server will load, and copy it to where nobody else writes, hashed as it is copied.

    Exit 0: certified, 1: it is not, 2: no answer.
    """
    from recert import settings
    from recert.interop.attestation.attest import Arm
    from recert.interop.attestation.attest import attest as attest_folders
    from recert.interop.attestation.holding import CertificateFiles
    from recert.policy.expected import expected_policy

    folders: dict[Arm, Path] = {"tuned": model}
    if base is not None:
        folders["base"] = base
    files = CertificateFiles(
        [certificate],
        trust,
        status=status,
        policy=expected_policy(policy),
        behind_gateway=behind_gateway or settings.behind_gateway(),
    )
    _tell(attest_folders(files, folders, output=output), as_json=as_json)


def attest_storage(
    *,
    pairs: Annotated[
        list[str],
        typer.Argument(metavar="URI FOLDER...", help="Addresses and folders, as KServe gives them."),
    ],
    as_json: AsJson = False,
) -> None:
    """
    Fetch models as KServe's storage initializer does, and leave certified files only.

    `RECERT_CERTIFICATE`, `RECERT_TRUST`, `RECERT_STATUS`, `RECERT_POLICY` and `RECERT_FETCH` say what is certified, and
    how it is fetched; `RECERT_BEHIND_GATEWAY` that clients reach it through `recert serve` alone.

    Exit 0: certified, 1: it is not, 2: no answer.
    """
    from recert import settings
    from recert.errors import InputError
    from recert.interop.attestation.holding import CertificateFiles
    from recert.interop.attestation.storage import place_certified

    if len(pairs) % 2:
        raise InputError("every address needs a folder", facts={"given": len(pairs)})
    asked = [(uri, Path(folder)) for uri, folder in zip(pairs[::2], pairs[1::2], strict=True)]
    for placed in place_certified(CertificateFiles.configured(), asked, fetch=settings.fetch_command()):
        _tell(placed, as_json=as_json)


def _tell(done: Attestation, *, as_json: bool) -> None:
    from recert.cli.printing import data

    if as_json:
        data(done)
        return
    for folder in done.folders:
        size = f"{folder.files} files, {folder.size_bytes} bytes"
        typer.echo(f"certified {done.serial} {folder.arm} {folder.path} ({size})")

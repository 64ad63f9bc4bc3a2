"""`recert renew`: lengthen a certificate's life after a clean watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.certifying.logged import Log, write_logged
from recert.cli.options import Certificate, PolicyName, Refusals, Status, Trust


def renew(
    *,
    certificate: Certificate,
    watch_report: Annotated[Path, typer.Option(help="Report of a clean `recert watch`.")],
    key: Annotated[list[Path], typer.Option(help="Private key of a signer; one for each role, repeat it.")],
    trust: Trust,
    output: Annotated[Path, typer.Option(help="Where the new certificate is written.")],
    link: Annotated[
        Path | None,
        typer.Option(help="Who signed that they watched; by default the watch's link beside its report."),
    ] = None,
    signer_command: Annotated[
        list[str] | None,
        typer.Option(
            help="Command that signs its stdin, one for each `--key` that is a `.pub` file, in order."
        ),
    ] = None,
    status: Status = None,
    refusals: Refusals = None,
    policy: PolicyName = "default",
    log: Log = None,
) -> None:
    """
    Renew a certificate that still holds, with its evidence.

    Exit 0: renewed, 1: refused, 2: no answer.
    """
    from recert.certification import TrustStore
    from recert.certification import renew as renew_certificate
    from recert.cli.certifying.signing import load_refusals, load_signers, load_watch_link
    from recert.cli.loading import load_record, load_status
    from recert.policy import load_policy
    from recert.records.live.watching import WatchReport
    from recert.store.files.writing import read_bytes

    renewed = renew_certificate(
        read_bytes(certificate, "certificate"),
        load_record(WatchReport, watch_report),
        link=load_watch_link(watch_report, link),
        signers=load_signers(key, signer_command or []),
        policy=load_policy(policy),
        trust=TrustStore.load(trust),
        status=load_status(certificate, status),
        refusals=load_refusals(certificate, refusals),
    )
    write_logged(output, renewed, log)
    typer.echo(output)

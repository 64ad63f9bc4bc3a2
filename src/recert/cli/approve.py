"""`recert approve`: add an approver's signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import Certificate


def approve(
    *,
    certificate: Certificate,
    key: Annotated[Path, typer.Option(help="The approver's private key.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
) -> None:
    """
    Show what a certificate says, and sign it.

    Exit 0: signed, 1: you said no, 2: could not.
    """
    from recert.certification import approve as add_signature
    from recert.certification import load_key, read_unverified
    from recert.cli.printing import NO, sheet
    from recert.cli.verify import in_words
    from recert.errors import InputError, RecordError
    from recert.store.files import read_bytes, write_atomic

    envelope = read_bytes(certificate, "certificate")
    try:
        said = read_unverified(envelope)
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": certificate, **exc.facts}, hint=exc.hint) from exc
    sheet("You are about to sign", in_words(said))
    try:
        agreed = yes or typer.confirm("Sign it?", err=True)
    except typer.Abort as exc:  # Ctrl-C, or nobody there to ask
        raise InputError("nobody said yes or no", hint="answer y or n, or give --yes") from exc
    if not agreed:
        raise typer.Exit(NO)
    write_atomic(certificate, add_signature(envelope, load_key(key)))
    typer.echo(certificate)

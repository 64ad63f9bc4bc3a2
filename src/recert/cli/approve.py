"""`recert approve`: add an approver's signature, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import Certificate, Refusals

if TYPE_CHECKING:
    from recert.certification import Objection, SigningKey


def approve(
    *,
    certificate: Certificate,
    key: Annotated[Path, typer.Option(help="The signer's private key.")],
    refuse: Annotated[
        str | None, typer.Option(help="Do not sign: record that you refuse, and why.", metavar="WHY")
    ] = None,
    withdraw: Annotated[
        str | None,
        typer.Option(help="Take back what you refused of this evidence, and say why.", metavar="WHY"),
    ] = None,
    refusals: Refusals = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
) -> None:
    """
    Show what a certificate says, and sign it, or record that you refuse to.

    Exit 0: signed, or the refusal is recorded, 1: you said no, 2: could not.
    """
    from recert.certification import approve as add_signature
    from recert.certification import keep_refusal, load_key, objections, read_unverified
    from recert.certification import refuse as sign_refusal
    from recert.cli.loading import load_refusals, refusals_path
    from recert.cli.printing import sheet
    from recert.cli.verify import in_words
    from recert.errors import InputError, RecordError
    from recert.store.files import read_bytes, write_atomic

    if refuse is not None and withdraw is not None:
        raise InputError("nobody refuses and takes it back at once", hint="give --refuse or --withdraw")
    envelope = read_bytes(certificate, "certificate")
    try:
        said = read_unverified(envelope)
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": certificate, **exc.facts}, hint=exc.hint) from exc
    known = load_refusals(certificate, refusals)
    against = objections(said, known)
    _show_objections(against)
    signer = load_key(key)
    folder = refusals_path(certificate, refusals)
    if refuse is not None:
        sheet("You refuse", in_words(said))
        _agree("Record the refusal?", yes=yes)
        typer.echo(keep_refusal(folder, sign_refusal(envelope, signer, refuse)))
        return
    own = [
        o
        for o in against
        if (o.refusal.approval.key_id, o.refusal.eval_report_sha256, o.withdrawn)
        == (signer.key_id, said.eval_report_sha256, False)
    ]
    if own and withdraw is None:
        raise InputError(
            "you refused this evidence, and a signature alone does not take that back",
            facts={"because": own[0].refusal.reason},
            hint="give --withdraw with what has changed",
        )
    named = any(a.key_id == signer.key_id for a in said.approvals)
    signed = add_signature(envelope, signer) if named or withdraw is None else None
    sheet("You are about to sign" if signed else "You take back your refusal of", in_words(said))
    _agree("Sign it?", yes=yes)
    if withdraw is not None:
        _take_back(known, own, signer, withdraw, folder)
    if signed is not None:
        write_atomic(certificate, signed)
        typer.echo(certificate)


def _take_back(
    known: tuple[bytes, ...], own: list[Objection], signer: SigningKey, why: str, folder: Path
) -> None:
    from recert.certification import Envelope, keep_refusal, withdraw
    from recert.digest import sha256_bytes
    from recert.errors import InputError

    if not own:
        raise InputError("you refused nothing of this evidence", facts={"folder": folder})
    digests = {o.sha256 for o in own}
    for refusal in known:
        if sha256_bytes(Envelope.from_json(refusal).payload) in digests:
            typer.echo(keep_refusal(folder, withdraw(refusal, signer, why)))


def _show_objections(against: tuple[Objection, ...]) -> None:
    from recert.cli.printing import sheet

    for one in against:
        who, what = one.refusal.approval, one.refusal
        state = "Was refused, and taken back" if one.withdrawn else "REFUSED"
        sheet(
            state,
            [
                ("by", f"{who.role} {who.name} {who.key_id[:16]}"),
                ("because", what.reason),
                ("when", f"{what.refused_at:%Y-%m-%d %H:%M} UTC"),
                ("certificate", f"{what.model_name} {what.serial}"),
            ],
        )


def _agree(question: str, *, yes: bool) -> None:
    """Return when somebody said yes; who says no ends the command with 1, who says nothing with 2."""
    from recert.cli.printing import NO
    from recert.errors import InputError

    try:
        agreed = yes or typer.confirm(question, err=True)
    except typer.Abort as exc:  # Ctrl-C, or nobody there to ask
        raise InputError("nobody said yes or no", hint="answer y or n, or give --yes") from exc
    if not agreed:
        raise typer.Exit(NO)

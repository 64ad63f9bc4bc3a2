"""`recert approve`: add a signature to what was shown, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.certifying.logged import Log, say_logged
from recert.cli.options import AsJson, Certificate, Evidence, Refusals, SignerCommand, Suites

if TYPE_CHECKING:
    from recert.policy import Policy
    from recert.records.signed.certificate import Certificate as Content
    from recert.records.signed.signoff import SignoffSheet


def approve(
    *,
    certificate: Certificate,
    key: Annotated[Path, typer.Option(help="The signer's private key.")],
    signer_command: SignerCommand = None,
    log: Log = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy that decided, as a TOML file; a shipped profile is found by itself."),
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Trusted keys: signatures that are there already are verified.")
    ] = None,
    refuse: Annotated[
        str | None, typer.Option(help="Do not sign: record that you refuse, and why.", metavar="WHY")
    ] = None,
    withdraw: Annotated[
        str | None,
        typer.Option(help="Take back what you refused of this model, and say why.", metavar="WHY"),
    ] = None,
    refusals: Refusals = None,
    evidence: Evidence = None,
    suites: Suites = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    as_json: AsJson = False,
) -> None:
    """
    Show all of what a certificate says, and sign it, or record that you refuse to.

    What cannot be shown whole, lacks what its policy asks for, or does not follow from the outcomes of its
    evaluation, is not signed.

    Exit 0: signed, or the refusal is recorded, 1: you said no, or the policy does, 2: could not.
    """
    from recert.certification import TrustStore, keep_refusal, require_named
    from recert.certification import refuse as refuse_to_sign
    from recert.certification.signing.approving import approve_file, require_agreed
    from recert.certification.signing.refusals import withdrawals
    from recert.certification.signing.signoff import own_refusals, signoff_sheet
    from recert.cli.certifying.signing import (
        load_policy_of,
        load_refusals,
        load_signer,
        refusals_path,
        say_unsafe,
    )
    from recert.cli.certifying.signoff import draw
    from recert.cli.printing import agree, data
    from recert.errors import InputError
    from recert.store.files.writing import read_bytes

    if refuse is not None and withdraw is not None:
        raise InputError("nobody refuses and takes it back at once", hint="give --refuse or --withdraw")
    envelope = read_bytes(certificate, "certificate")
    said = _read(envelope, certificate)
    known, decided = load_refusals(certificate, refusals), load_policy_of(said, policy)
    trusted = TrustStore.load(trust) if trust else None
    signer = load_signer(key, signer_command)
    named = any(a.key_id == signer.key_id for a in said.approvals)
    signs = refuse is None and (withdraw is None or named)
    sheet = signoff_sheet(
        envelope,
        policy=decided,
        trust=trusted,
        refusals=known,
        underived=_underived(said, decided, certificate, evidence, suites or []) if signs else None,
    )
    folder = refusals_path(certificate, refusals)
    draw(sheet, title="You are about to sign" if refuse is None else "You refuse")
    say_unsafe(trusted)
    if as_json:
        data(sheet)
    if refuse is not None:
        agree("Record that you refuse?", yes=yes)
        typer.echo(keep_refusal(folder, refuse_to_sign(envelope, signer, refuse)), err=as_json)
        return
    own = own_refusals(sheet, said, signer.key_id)
    require_agreed(own, withdrawn=withdraw is not None, folder=folder)
    if signs:
        require_named(said, signer)
        _require_ready(sheet)
    agree("Sign it?" if signs else "Take your refusal back?", yes=yes)
    if withdraw is not None:
        for back in withdrawals(known, own, signer, withdraw):
            typer.echo(keep_refusal(folder, back), err=as_json)
    if signs:
        say_logged(approve_file(certificate, signer, shown=envelope, log=log), log, certificate)
        typer.echo(certificate, err=as_json)


def _read(envelope: bytes, path: Path) -> Content:
    from recert.certification import read_unverified
    from recert.errors import RecordError

    try:
        return read_unverified(envelope)
    except RecordError as exc:
        raise RecordError(exc.message, facts={"file": path, **exc.facts}, hint=exc.hint) from exc


def _underived(
    said: Content, policy: Policy | None, path: Path, evidence: Path | None, suites: list[str]
) -> tuple[str, ...] | None:
    """Why it does not follow from its evidence; None where its policy is not at hand, and nothing is signed anyway."""
    from recert.cli.loading import load_suites
    from recert.workflows.deriving import require_evidence, why_not_from_evidence

    if policy is None:
        return None
    folder = require_evidence(path, evidence)
    return why_not_from_evidence(said, folder, policy=policy, suites=load_suites(suites))


def _require_ready(sheet: SignoffSheet) -> None:
    """Return when all of it was shown and the policy asks for nothing more than signatures."""
    from recert.certification.signing.approving import require_whole
    from recert.cli.printing import NO, talk

    require_whole(sheet)
    if sheet.missing:
        talk().print("not signed: the policy asks for what is not there", style="bold")
        for item in sheet.missing:
            typer.echo(f"{item.asked}: {item.words}")
        raise typer.Exit(NO)

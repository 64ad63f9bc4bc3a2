"""`recert revoke` and `recert status`: the list of certificates that must not be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from recert.cli.logged import Log, write_logged
from recert.cli.options import PolicyName, SignerCommand, Trust

StatusList = Annotated[Path, typer.Option("--status", help="The status list; it is replaced by the new one.")]
StatusKey = Annotated[Path, typer.Option("--key", help="Private key with the role `status`.")]


def revoke(
    *,
    serial: Annotated[str, typer.Argument(help="Serial of the certificate.")],
    reason: Annotated[str, typer.Option(help="Why; it is shown to whoever verifies.")],
    status: StatusList,
    key: StatusKey,
    trust: Trust,
    signer_command: SignerCommand = None,
    policy: PolicyName = "default",
    suspend: Annotated[
        bool, typer.Option("--suspend", help="For now only; `recert status` can lift it.")
    ] = False,
    log: Log = None,
) -> None:
    """
    End a certificate: a running gateway stops within seconds.

    Exit 0: the list is written, 2: it is not.
    """
    from recert.certification import TrustStore
    from recert.certification import revoke as revoke_serial
    from recert.certification import suspend as suspend_serial
    from recert.cli.signing import load_signer
    from recert.policy import load_policy
    from recert.store.files import read_bytes

    with _could_not_go_on_from(status):
        issued = (suspend_serial if suspend else revoke_serial)(
            read_bytes(status, "status list"),
            serial,
            reason,
            key=load_signer(key, signer_command),
            trust=TrustStore.load(trust),
            validity_hours=load_policy(policy).certification.status_validity_hours,
        )
    write_logged(status, issued, log)
    typer.echo(status)


def status_list(
    *,
    status: Annotated[Path, typer.Argument(help="The status list; it is replaced by the new one.")],
    key: StatusKey,
    trust: Trust,
    signer_command: SignerCommand = None,
    policy: PolicyName = "default",
    first: Annotated[bool, typer.Option("--first", help="Begin a list where there is none.")] = False,
    reinstate: Annotated[str | None, typer.Option(help="Serial whose suspension ends.")] = None,
    refusals: Annotated[
        Path | None, typer.Option(help="Folder of refusals: certificates that stand refused are suspended.")
    ] = None,
    log: Log = None,
) -> None:
    """
    Issue the status list anew: one version up, a new expiry.

    Exit 0: written, 2: not.
    """
    from recert.certification import TrustStore, issue_status, read_refusals, suspensions
    from recert.certification import reinstate as reinstate_serial
    from recert.cli.signing import load_signer
    from recert.errors import InputError
    from recert.policy import load_policy
    from recert.store.files import read_bytes

    hours = load_policy(policy).certification.status_validity_hours
    signer, trusted = load_signer(key, signer_command), TrustStore.load(trust)
    if refusals is not None and reinstate is not None:
        raise InputError("one list cannot suspend and lift at once", hint="lift first, then give --refusals")
    if first and status.exists():
        raise InputError("there is a status list already", facts={"file": status}, hint="leave --first out")
    previous = None if first else read_bytes(status, "status list")
    with _could_not_go_on_from(status):
        if reinstate is not None and previous is not None:
            issued = reinstate_serial(previous, reinstate, key=signer, trust=trusted, validity_hours=hours)
        else:
            refused = suspensions(read_refusals(refusals, required=True), trust=trusted) if refusals else ()
            issued = issue_status(previous, key=signer, trust=trusted, validity_hours=hours, entries=refused)
    write_logged(status, issued, log)
    typer.echo(status)


@contextmanager
def _could_not_go_on_from(status: Path) -> Iterator[None]:
    """A list that is refused is no answer here: nothing was asked of it but to go on from it."""
    from recert.errors import RecordError, VerificationError

    try:
        yield
    except VerificationError as exc:
        facts = {"file": status, "reason": exc.reason, **exc.facts}
        raise RecordError(exc.message, facts=facts, hint=exc.hint) from exc

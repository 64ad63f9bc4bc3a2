"""`recert revoke` and `recert status`: the list of certificates that must not be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.certifying.logged import Log, write_logged
from recert.cli.certifying.serials import Certificates, Unknown
from recert.cli.options import PolicyName, SignerCommand, Trust

if TYPE_CHECKING:
    from recert.certification.signing.issued import HeldMemory

StatusList = Annotated[Path, typer.Option("--status", help="The status list; it is replaced by the new one.")]
StatusKey = Annotated[Path, typer.Option("--key", help="Private key with the role `status`.")]
Recover = Annotated[
    bool,
    typer.Option(
        "--recover",
        help="The newest list is lost: go on from the one that is there, if any, and from all that was issued here.",
    ),
]


def revoke(
    *,
    certificate: Annotated[
        str, typer.Argument(help="The certificate's file, its serial, or eight signs of that or more.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is shown to whoever verifies.")],
    status: StatusList,
    key: StatusKey,
    trust: Trust,
    signer_command: SignerCommand = None,
    policy: PolicyName = "default",
    suspend: Annotated[
        bool, typer.Option("--suspend", help="For now only; `recert status` can lift it.")
    ] = False,
    certificates: Certificates = None,
    unknown: Unknown = False,
    recover: Recover = False,
    log: Log = None,
) -> None:
    """
    End a certificate: a running gateway stops within seconds.

    Exit 0: the list is written, 2: it is not.
    """
    from recert.certification import TrustStore
    from recert.certification import revoke as revoke_serial
    from recert.certification import suspend as suspend_serial
    from recert.cli.certifying.serials import find_serial
    from recert.cli.certifying.signing import load_signer
    from recert.cli.printing import plain, talk
    from recert.policy import load_policy
    from recert.store.files.writing import read_bytes

    bounds, signer, trusted = load_policy(policy), load_signer(key, signer_command), TrustStore.load(trust)
    with _issuing(status) as memory:
        previous = None if recover and not status.exists() else read_bytes(status, "status list")
        serial = find_serial(
            certificate, status=status, certificates=certificates or [], trust=trusted, unknown=unknown
        )
        issued = (suspend_serial if suspend else revoke_serial)(
            previous,
            serial,
            reason,
            key=signer,
            trust=trusted,
            validity_hours=bounds.certification.status_validity_hours,
            policy=bounds,
            memory=memory,
            recover=recover,
        )
        write_logged(status, issued, log)
    talk().print(f"{'suspended' if suspend else 'revoked'} {serial}", soft_wrap=True)
    typer.echo(plain(status))


def status_list(
    *,
    status: Annotated[Path, typer.Argument(help="The status list; it is replaced by the new one.")],
    key: StatusKey,
    trust: Trust,
    signer_command: SignerCommand = None,
    policy: PolicyName = "default",
    first: Annotated[bool, typer.Option("--first", help="Begin a list where there is none.")] = False,
    new_list: Annotated[
        bool, typer.Option("--new-list", help="Begin another list with a key that has issued one.")
    ] = False,
    reinstate: Annotated[
        str | None, typer.Option(help="Certificate whose suspension ends: its file or serial.")
    ] = None,
    certificates: Certificates = None,
    refusals: Annotated[
        Path | None, typer.Option(help="Folder of refusals: certificates that stand refused are suspended.")
    ] = None,
    recover: Recover = False,
    log: Log = None,
) -> None:
    """
    Issue the status list anew: one version up, a new expiry.

    Exit 0: written, 2: not.
    """
    from recert.certification import TrustStore, issue_status, read_refusals, suspensions
    from recert.certification import reinstate as reinstate_serial
    from recert.certification.status.reading import Issuing
    from recert.cli.certifying.serials import find_serial
    from recert.cli.certifying.signing import load_signer
    from recert.cli.printing import plain
    from recert.errors import InputError
    from recert.policy import load_policy
    from recert.store.files.writing import read_bytes

    bounds, signer, trusted = load_policy(policy), load_signer(key, signer_command), TrustStore.load(trust)
    if reinstate is not None and (refusals is not None or first or new_list or recover):
        raise InputError(
            "nothing else can be done while a suspension is lifted", hint="lift it with a command of its own"
        )
    if (first or new_list) and status.exists():
        raise InputError(
            "there is a status list already", facts={"file": status}, hint="leave --first or --new-list out"
        )
    with _issuing(status) as memory:
        none = first or new_list or (recover and not status.exists())
        previous = None if none else read_bytes(status, "status list")
        how: Issuing = {
            "key": signer,
            "trust": trusted,
            "validity_hours": bounds.certification.status_validity_hours,
            "policy": bounds,
            "memory": memory,
            "recover": recover,
        }
        if reinstate is not None and previous is not None:
            serial = find_serial(
                reinstate, status=status, certificates=certificates or [], trust=trusted, unknown=False
            )
            issued = reinstate_serial(previous, serial, **how)
        else:
            refused = suspensions(read_refusals(refusals, required=True), trust=trusted) if refusals else ()
            issued = issue_status(previous, entries=refused, new_list=new_list, **how)
        write_logged(status, issued, log)
    typer.echo(plain(status))


@contextmanager
def _issuing(status: Path) -> Iterator[HeldMemory]:
    """Hold what was issued before. A list that is refused is no answer: nothing was asked but to go on from it."""
    from recert.certification.signing.issued import hold_memory
    from recert.errors import RecordError, VerificationError

    try:
        with hold_memory() as memory:
            memory.require_apart(status.absolute().parent)
            yield memory
    except VerificationError as exc:
        facts = {"file": status, "reason": exc.reason, **exc.facts}
        raise RecordError(exc.message, facts=facts, hint=exc.hint) from exc

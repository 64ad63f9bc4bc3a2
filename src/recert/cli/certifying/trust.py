"""`recert trust`: the root of trust, which says whose keys count as what, and who may change that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.options import AsJson

if TYPE_CHECKING:
    from recert.certification.signing.keys import PublicKey
    from recert.certification.trust.root_chain import SignedRoot
    from recert.certification.trust.root_change import ProposedRoot
    from recert.records.signed.trust_root import TrustRoot

app = typer.Typer(no_args_is_help=True, help="Make, show and change the root of trust.")

Folder = Annotated[Path, typer.Argument(help="The root's folder, with `root.json`.")]
RootKeys = Annotated[
    list[Path],
    typer.Option("--key", help="Private root key that signs this. May be repeated."),
]
SignerCommands = Annotated[
    list[str] | None,
    typer.Option(
        "--signer-command",
        help="For root keys on a token or in a key service: a command that signs its stdin, one for each `--key` that "
        "is a `.pub` file, in this order.",
    ),
]
OtherRoots = Annotated[
    list[Path] | None,
    typer.Option("--root", help="`.pub` file of a root key that somebody else holds. May be repeated."),
]
StatusList = Annotated[
    str,
    typer.Option(help="The status list that can end certificates: its file, or its id."),
]
ValidDays = Annotated[int, typer.Option(help="Days from now until it must be lengthened.", min=1, max=3650)]
KeyIds = Annotated[list[str], typer.Argument(metavar="KEYID", help="Key ids, or their first 16 digits.")]


@app.command()
def init(
    *,
    folder: Folder,
    key: RootKeys,
    threshold: Annotated[int, typer.Option(help="How many people must sign each version.", min=1)],
    add: Annotated[
        list[Path] | None,
        typer.Option(help="`.pub` file of a key that is trusted in its role. May be repeated."),
    ] = None,
    root: OtherRoots = None,
    status_list: StatusList = "",
    valid_days: ValidDays = 365,
    signer_command: SignerCommands = None,
) -> None:
    """
    Make a root of trust: who may sign what, signed by root keys, which are made with the role `root`.

    Exit 0: it is in force, 1: it waits for more signatures (`recert trust sign`), 2: not made.
    """
    from datetime import timedelta

    from recert.certification.trust.root_change import begin_root
    from recert.cli.certifying.signing import load_signers
    from recert.records.record import now

    signers, others = load_signers(key, signer_command or []), _public(root)
    added = _public(add)
    proposed = begin_root(
        folder,
        [*(signer.public for signer in signers), *others],
        threshold,
        added,
        signers=signers,
        expires_at=now() + timedelta(days=valid_days),
        now=now(),
        status_list_id=_list_id(status_list, added),
    )
    _say(folder, proposed)


@app.command()
def show(*, folder: Folder, as_json: AsJson = False) -> None:
    """
    Show the root of trust: version, until when, threshold, people, roles and keys, and what waits for signatures.

    Exit 0: it is in force, 1: it is not, as when it has expired or was tampered with, 2: no answer.
    """
    from recert.certification.trust.root_chain import read_chain
    from recert.certification.trust.root_change import pending_or_none
    from recert.certification.trust.store import TrustStore, require_newest
    from recert.cli.printing import data
    from recert.records.record import now
    from recert.records.signed.transparency import VerifierMemory

    waiting = pending_or_none(folder)
    if waiting is not None and not waiting.chain:
        _draw(waiting.signed)
        _draw_waiting(waiting)
        raise typer.Exit(1)
    newest = read_chain(folder)[-1]
    if as_json:
        data(newest.root)
    else:
        _draw(newest)
        if waiting is not None:
            _draw_waiting(waiting)
    require_newest(TrustStore.load(folder), VerifierMemory(), now=now())


@app.command("add")
def add_(
    *,
    folder: Folder,
    keys: Annotated[list[Path], typer.Argument(metavar="KEY.pub", help="`.pub` files of keys to trust.")],
    key: RootKeys,
    signer_command: SignerCommands = None,
) -> None:
    """
    Trust more keys, each in the role of its `.pub` file and under its name.

    Exit 0: in force, 1: waits for more signatures, 2: nothing changed.
    """
    from recert.certification.trust.root_edits import add_keys

    added = _public(keys)
    _change(folder, lambda root: add_keys(root, added), key, signer_command)


@app.command()
def revoke(*, folder: Folder, keys: KeyIds, key: RootKeys, signer_command: SignerCommands = None) -> None:
    """
    Revoke keys, for good: nothing counts that they ever signed, but what they refused stays refused.

    Exit 0: in force, 1: waits for more signatures, 2: nothing changed.
    """
    from recert.certification.trust.root_edits import drop_keys
    from recert.records.record import now

    at = now()
    _change(folder, lambda root: drop_keys(root, keys, revoked_at=at), key, signer_command)


@app.command()
def remove(*, folder: Folder, keys: KeyIds, key: RootKeys, signer_command: SignerCommands = None) -> None:
    """
    Take keys out as if they had never been trusted: what they signed counts no more, nor what they refused.

    Exit 0: in force, 1: waits for more signatures, 2: nothing changed.
    """
    from recert.certification.trust.root_edits import drop_keys

    _change(folder, lambda root: drop_keys(root, keys, revoked_at=None), key, signer_command)


@app.command()
def rotate(
    *,
    folder: Folder,
    root: Annotated[
        list[Path],
        typer.Option("--root", help="`.pub` file of each root key from now on, those that stay too."),
    ],
    key: RootKeys,
    threshold: Annotated[
        int | None, typer.Option(help="How many people must sign from now on; by default as before.", min=1)
    ] = None,
    signer_command: SignerCommands = None,
) -> None:
    """
    Name the root keys anew. A threshold of the former ones must sign it, and a threshold of the new ones.

    Exit 0: in force, 1: waits for more signatures, 2: nothing changed.
    """
    from recert.certification.trust.root_edits import rotate_keys

    roots = _public(root)
    _change(folder, lambda before: rotate_keys(before, roots, threshold), key, signer_command)


@app.command()
def extend(
    *,
    folder: Folder,
    key: RootKeys,
    valid_days: ValidDays = 365,
    status_list: StatusList = "",
    signer_command: SignerCommands = None,
) -> None:
    """
    Lengthen the root's life, and name the status list where there was none yet or it is another one.

    Exit 0: in force, 1: waits for more signatures, 2: nothing changed.
    """
    from datetime import timedelta

    from recert.certification.trust.root_edits import public_keys_of
    from recert.records.record import now

    until = now() + timedelta(days=valid_days)

    def change(root: TrustRoot) -> TrustRoot:
        listed = _list_id(status_list, public_keys_of(root)) or root.status_list_id
        return root.model_copy(update={"expires_at": until, "status_list_id": listed})

    _change(folder, change, key, signer_command)


@app.command()
def sign(
    *,
    folder: Folder,
    key: RootKeys,
    signer_command: SignerCommands = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
) -> None:
    """
    Show what waits for signatures, and sign it. With enough signatures it is in force.

    Exit 0: in force, 1: waits for more signatures, or you said no, 2: not signed.
    """
    from recert.certification.trust.root_change import read_pending, sign_root
    from recert.cli.certifying.signing import load_signers
    from recert.cli.printing import agree

    signers = load_signers(key, signer_command or [])
    with _could_not_go_on():
        shown = read_pending(folder)
    _say_changes(shown)
    agree("Sign it?", yes=yes)
    with _could_not_go_on():
        signed = sign_root(folder, signers=signers, shown=shown)
    _say(folder, signed, changes=False)


def _change(
    folder: Path,
    change: Callable[[TrustRoot], TrustRoot],
    key: Sequence[Path],
    signer_command: Sequence[str] | None,
) -> None:
    from recert.certification.trust.root_change import change_root
    from recert.cli.certifying.signing import load_signers
    from recert.records.record import now

    signers = load_signers(key, signer_command or [])
    with _could_not_go_on():
        proposed = change_root(folder, change, signers=signers, now=now())
    _say(folder, proposed)


@contextmanager
def _could_not_go_on() -> Iterator[None]:
    """A root that is refused is no answer here: nothing was asked of it but to go on from it."""
    from recert.errors import RecordError, VerificationError

    try:
        yield
    except VerificationError as exc:
        raise RecordError(exc.message, facts={"reason": exc.reason, **exc.facts}, hint=exc.hint) from exc


def _say(folder: Path, proposed: ProposedRoot, *, changes: bool = True) -> None:
    """Say what became of a version; one that waits ends the command with 1."""
    from recert.cli.printing import NO, talk

    if changes:
        _say_changes(proposed)
    waits = proposed.waits_for()
    number = proposed.signed.root.version
    if not waits:
        typer.echo(f"version {number} of the root of trust is in force")
        return
    for words in waits:
        talk().print(f"waits for {words}", soft_wrap=True)
    talk().print(f"they sign with: recert trust sign {folder} --key KEY.pem", soft_wrap=True)
    typer.echo(f"version {number} of the root of trust is not in force yet")
    raise typer.Exit(NO)


def _say_changes(proposed: ProposedRoot) -> None:
    from recert.cli.printing import sheet

    root = proposed.signed.root
    sheet(
        f"Version {root.version} of the root of trust {root.root_id}",
        [("", words) for words in proposed.changes()]
        + [("signed bytes", f"sha256:{proposed.signed.sha256}")],
    )


def _draw(signed: SignedRoot) -> None:
    """Print a root as plain text of 80 columns on stdout; nothing is cut."""
    from rich.table import Table

    root = signed.root
    people = root.people(set(root.root_key_ids))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for heading, said in (
        ("root", root.root_id),
        ("version", f"{root.version}, until {root.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("signed by", f"{root.root_threshold} of {', '.join(people)}"),
        ("status list", root.status_list_id or "none yet"),
        ("sha256", signed.sha256),
    ):
        facts.add_row(heading, said)
    keys = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("person", "roles", "key", "counts"):
        keys.add_column(column, overflow="fold", no_wrap=column == "key")
    for key in root.keys:
        until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "with the root"
        gone = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else until
        keys.add_row(key.name, ", ".join(key.roles), key.key_id[:16], gone)
    _print(facts)
    _print("")
    _print(keys)


def _draw_waiting(waiting: ProposedRoot) -> None:
    _print(f"\nversion {waiting.signed.root.version} waits for signatures:")
    for words in (*waiting.changes(), *(f"waits for {one}" for one in waiting.waits_for())):
        _print(f"  {words}")


def _print(what: object) -> None:
    import sys

    from rich.console import Console

    from recert.cli.printing import plain

    console = Console(file=sys.stdout, width=80, markup=False, highlight=False, color_system=None)
    console.print(plain(what) if isinstance(what, str) else what)


def _public(files: Sequence[Path] | None) -> list[PublicKey]:
    from recert.certification import load_public_key

    return [load_public_key(file) for file in files or ()]


def _list_id(given: str, keys: Sequence[PublicKey]) -> str | None:
    """Return the id of a status list that was given as a file or as the id itself; None where none was."""
    from recert.certification.trust.root_edits import list_id_of
    from recert.store.files.writing import read_bytes

    path = Path(given)
    return list_id_of(read_bytes(path, "status list") if given and path.exists() else given, keys)

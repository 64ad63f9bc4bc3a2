"""`recert console`: pages in the browser, and the accounts of those who may see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recert.cli.operating import serve_options as only
from recert.cli.options import AsJson, BehindProxy, PolicyName

if TYPE_CHECKING:
    from recert.store.console.accounts import Accounts
    from recert.store.console.database import ConsolePlace

app = typer.Typer(
    invoke_without_command=True,
    help="Show systems, evidence and certificates in the browser, behind a sign-in.",
)
accounts = typer.Typer(no_args_is_help=True, help="People who may sign in, and their roles.")
app.add_typer(accounts, name="accounts")

Folder = Annotated[Path, typer.Option(help="The console's own: `console.toml`, its database, its log.")]
Database = Annotated[
    str, typer.Option(help="URL of a PostgreSQL database; by default a SQLite file in --folder.")
]
SameFolder = Annotated[
    Path | None, typer.Option("--folder", help="The console's own; by default that of `recert console`.")
]
SameDatabase = Annotated[
    str, typer.Option("--database", help="URL of its database; by default that of `recert console`.")
]
Name = Annotated[str, typer.Argument(help="Of the account.")]
Roles = Annotated[
    list[str],
    typer.Option(
        "--role",
        help="`reader`, `auditor`, `labeller`, `operator`, `administrator`, or a role of the policy, such as "
        "`approver`. May be repeated.",
    ),
]
CustomRole = Annotated[
    bool, typer.Option("--custom-role", help="A role is none of Recert's: the policy asks for it.")
]
_FOLDER = Path("console")
_Trusted = Annotated[
    Path | None,
    typer.Option(
        help="Trusted keys: a `.pub` file, a folder of them, or a JSON list. Without them no certificate counts as "
        "signed."
    ),
]


@app.callback()
def console(
    *,
    context: typer.Context,
    folder: Folder = _FOLDER,
    roots: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="DIR", help="Folder whose records are shown. May be repeated."),
    ] = None,
    policy: PolicyName = "default",
    trust: _Trusted = None,
    status: Annotated[
        Path | None,
        typer.Option(help="Newest status list; by default `status.json` beside each certificate."),
    ] = None,
    transparency_log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FOLDER", help="Transparency log that certificates are appended to."),
    ] = None,
    logs: Annotated[
        list[Path] | None,
        typer.Option("--audit", metavar="FILE", help="Audit log of a gateway. May be repeated."),
    ] = None,
    database: Database = "",
    tls_certificate: only.TlsCertificate = None,
    tls_key: only.TlsKey = None,
    behind_proxy: BehindProxy = "",
    host: Annotated[
        str, typer.Option(help="Where to listen. Beyond this machine TLS is needed, or a proxy.")
    ] = "127.0.0.1",
    port: only.Port = 8080,
) -> None:
    """
    Show systems, evidence and certificates in the browser. Make an account first: `recert console accounts add`.

    Exit 0: stopped by you, 2: no answer.
    """
    if context.invoked_subcommand is not None:
        return
    from recert.cli.printing import talk
    from recert.errors import InputError
    from recert.gateway.serving.telemetry import log_to_stderr

    require_console()
    if (tls_certificate is None) != (tls_key is None):
        raise InputError("TLS needs a certificate and its key", hint="give --tls-certificate and --tls-key")
    missing = [str(root) for root in roots or () if not root.is_dir()]
    if missing:
        raise InputError("no such folder", facts={"--root": ", ".join(missing)})
    log_to_stderr()
    options = {
        "folder": folder.absolute(),
        "roots": tuple(root.absolute() for root in roots or ()),
        "policy": policy,
        "trust": trust,
        "status": status,
        "transparency_log": transparency_log,
        "logs": tuple(logs or ()),
        "database": database,
    }
    tls = (tls_certificate, tls_key) if tls_certificate is not None and tls_key is not None else None
    server = context.obj.console(options, host=host, port=port, tls=tls, behind_proxy=behind_proxy)
    if not server.assembled.console.people.accounts.all():
        talk().print(
            "there is no account yet: run `recert console accounts add NAME --role administrator`",
            soft_wrap=True,
        )
    typer.echo(f"{server.url}/console/")
    server.run()


@accounts.command()
def add(
    *,
    name: Name,
    roles: Roles,
    context: typer.Context,
    folder: SameFolder = None,
    database: SameDatabase = "",
    custom_role: CustomRole = False,
    must_change: Annotated[
        bool,
        typer.Option("--must-change", help="They choose a password of their own when they first sign in."),
    ] = False,
) -> None:
    """
    Make an account. The password is asked for, or read from stdin: it is never an argument.

    Exit 0: made, 2: not made.
    """
    from recert.store.console.accounts import account_name, role_names
    from recert.store.console.passwords import Passwords

    known, given = account_name(name), _known(role_names(roles), custom=custom_role)
    hashed = Passwords().hashed(_password())
    with _place(context, folder, database, make=True) as (place, where):
        _write(where, "account-added", account=known, roles=", ".join(sorted(given)))
        typer.echo(_accounts(place).add(known, given, password=hashed, must_change=must_change))


@accounts.command("list")
def show(
    *, context: typer.Context, folder: SameFolder = None, database: SameDatabase = "", as_json: AsJson = False
) -> None:
    """
    List accounts: name, roles, whether they are shut, when they signed in last.

    Exit 0: listed, 2: they cannot be read.
    """
    import json
    from datetime import UTC, datetime

    with _place(context, folder, database) as (place, _):
        for one in _accounts(place).all():
            last = datetime.fromtimestamp(one.signed_in_s, UTC).isoformat() if one.signed_in_s else ""
            row = {"name": one.name, "roles": sorted(one.roles), "shut": one.disabled, "signed_in_at": last}
            words = f"{one.name}  {', '.join(sorted(one.roles))}  {'shut  ' if one.disabled else ''}{last or 'never'}"
            typer.echo(json.dumps(row) if as_json else words)


@accounts.command("roles")
def change_roles(
    *,
    name: Name,
    roles: Roles,
    context: typer.Context,
    folder: SameFolder = None,
    database: SameDatabase = "",
    custom_role: CustomRole = False,
) -> None:
    """
    Give an account these roles, and no others.

    Exit 0: given, 2: not given.
    """
    from recert.store.console.accounts import role_names

    _known(role_names(roles), custom=custom_role)
    with _place(context, folder, database) as (place, where):
        _write(where, "roles-changed", account=name, roles=", ".join(sorted(roles)))
        _accounts(place).set_roles(name, roles)


@accounts.command()
def remove(
    *, name: Name, context: typer.Context, folder: SameFolder = None, database: SameDatabase = ""
) -> None:
    """
    Remove an account, and end its sessions.

    Exit 0: removed, 2: not removed.
    """
    with _place(context, folder, database) as (place, where):
        _write(where, "account-removed", account=name)
        _accounts(place).remove(name)


@accounts.command()
def reset(
    *, name: Name, context: typer.Context, folder: SameFolder = None, database: SameDatabase = ""
) -> None:
    """
    Set the password of an account anew, and end its sessions. It is asked for, or read from stdin.

    Exit 0: set, 2: not set.
    """
    from recert.store.console.passwords import Passwords
    from recert.store.console.sessions import Sessions

    hashed = Passwords().hashed(_password())
    with _place(context, folder, database) as (place, where):
        _write(where, "password-reset", account=name)
        _accounts(place).set_password(name, hashed)
        Sessions(place, idle_s=1, longest_s=1).end_all(name)


def require_console() -> None:
    """
    Return when what the console needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    from recert.errors import MissingExtraError

    missing = [name for name in ("starlette", "python_multipart", "argon2") if find_spec(name) is None]
    if missing:
        raise MissingExtraError("the console is not installed", hint="run `pip install 'recert[console]'`")


@contextmanager
def _place(
    context: typer.Context, folder: Path | None, database: str, *, make: bool = False
) -> Iterator[tuple[ConsolePlace, Path]]:
    """The console's database, and its folder; the file in a folder is made only with the first account."""
    from recert.errors import InputError
    from recert.store.console.database import FILE, open_console

    above = context.parent.parent.params if context.parent and context.parent.parent else {}
    folder, database = folder or above.get("folder", _FOLDER), database or above.get("database", "")
    if not database and not make and not (folder / FILE).exists():
        raise InputError(
            "there is no console in this folder",
            facts={"folder": folder},
            hint="make the first account: `add`",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = open_console(database or folder / FILE)
    try:
        yield place, folder
    finally:
        place.close()


def _accounts(place: ConsolePlace) -> Accounts:
    from recert.store.console.accounts import Accounts

    return Accounts(place)


def _write(folder: Path, what: str, **facts: str) -> None:
    """Log an act of whoever runs this, before it is done. A running console holds its own log: this is another."""
    import getpass

    from recert.records.live.console import ConsoleAct
    from recert.store.audit.log import AuditLog

    with AuditLog(folder / "commands.jsonl", node="commands") as log:
        log.append(ConsoleAct(who=f"command:{getpass.getuser()}", what=what, facts=dict(facts)))


def _password() -> str:
    """From a prompt, twice; or the first line of stdin where that is no terminal."""
    import sys

    from recert.errors import InputError
    from recert.store.console.passwords import require_password

    if sys.stdin.isatty():
        given = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        given = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
        if not given:
            raise InputError("no password on stdin", hint="run it in a terminal, or pipe the password in")
    require_password(given)
    return given


def _known(roles: frozenset[str], *, custom: bool) -> frozenset[str]:
    """Roles of the console, or in which something is signed; any other must be meant."""
    from recert.store.console.accounts import OWN_ROLES, SIGNING, require_known

    return roles if custom else require_known(roles, {*OWN_ROLES, *SIGNING})

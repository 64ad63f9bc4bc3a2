"""`recert db`: the tables of a database that several gateways share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Make or check the tables of a shared database.")

Url = Annotated[
    str,
    typer.Option(
        "--database", help="Its URL, as `postgresql://user@host/recert`; by default `RECERT_DATABASE_URL`."
    ),
]


@app.command()
def upgrade(url: Url = "") -> None:
    """
    Make the tables, or bring them up to date. May be run again, and by several at once.

    Exit 0: they are, 2: they are not.
    """
    from recert.store.database import upgrade as bring_up_to_date

    typer.echo(bring_up_to_date(_given(url)))


@app.command()
def check(url: Url = "") -> None:
    """
    Say whether a database has the tables of this version.

    Exit 0: it has, 2: it has not, or cannot be read.
    """
    from recert.store.database import NEWEST, require_current

    require_current(_given(url))
    typer.echo(NEWEST)


def _given(url: str) -> str:
    from recert import settings
    from recert.errors import SettingsError

    found = url or settings.database_url()
    if not found:
        raise SettingsError("no database is named", hint="give --database, or set RECERT_DATABASE_URL")
    return found

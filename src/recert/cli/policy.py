"""`recert policy`: look at the numbers that decide."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show a policy, or check a policy file.")

Source = Annotated[str, typer.Argument(help="A shipped profile (`default`, `demo`) or a TOML file.")]


@app.command()
def show(source: Source = "default") -> None:
    """Print a policy with every default filled in, as JSON."""
    from recert.cli.printing import data
    from recert.policy import load_policy

    data(load_policy(source))


@app.command()
def check(source: Source = "default") -> None:
    """
    Say whether a policy file can be used, its digest, and what its gateway lets pass.

    Exit 0: yes, 2: no.
    """
    from recert.policy import load_policy

    policy = load_policy(source)
    typer.echo(f"{policy.id} version {policy.version} sha256:{policy.digest}")
    for words in policy.gateway.unguarded:
        typer.echo(f"note: {words}")

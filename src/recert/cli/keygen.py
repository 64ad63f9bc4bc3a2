"""`recert keygen`: make a signing key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keygen(
    path: Annotated[Path, typer.Argument(help="Private key to write; its `.pub` file lies beside it.")],
    role: Annotated[
        str,
        typer.Option(help="`evaluator`, `approver`, `status`, `trainer`, `audit`, or a role of the policy."),
    ],
    name: Annotated[str, typer.Option(help="Who holds it.")] = "",
) -> None:
    """
    Make an Ed25519 key. The private half has mode 0600 and is never overwritten.

    Exit 0: made, 2: not.
    """
    from recert.certification import generate_key, public_path

    key = generate_key(path, role, name)
    typer.echo(f"{key.key_id} {role} {public_path(path)}")

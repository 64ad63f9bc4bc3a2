"""`recert keygen`: make a signing key, or take in the public half of one that is kept elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keygen(
    *,
    path: Annotated[Path, typer.Argument(help="Private key to write; its `.pub` file lies beside it.")],
    role: Annotated[
        str,
        typer.Option(
            help="What it signs as: `evaluator`, `approver`, `risk-owner`, `status`, `screener`, `trainer`, `watcher`, "
            "`audit`, `log`, `witness` or `root`."
        ),
    ],
    name: Annotated[str, typer.Option(help="Who holds it.")] = "",
    algorithm: Annotated[str, typer.Option(help="`ed25519` or `ecdsa-p256`.")] = "ed25519",
    custom_role: Annotated[
        bool, typer.Option("--custom-role", help="The role is none of these: a policy asks for it.")
    ] = False,
    from_public: Annotated[
        Path | None,
        typer.Option(
            help="Public half in PEM of a key on a token or in a key service: only the `.pub` is written."
        ),
    ] = None,
) -> None:
    """
    Make a key. The private half has mode 0600 and is never overwritten.

    A key whose making was killed half way is finished by the same command.

    Exit 0: made, 2: not.
    """
    from recert.certification import ROLES, generate_key, import_public_key, public_path
    from recert.certification.signing.algorithms import Algorithm
    from recert.certification.signing.keys import is_begun
    from recert.cli.printing import talk
    from recert.errors import InputError

    kinds: dict[str, Algorithm] = {"ed25519": "ed25519", "ecdsa-p256": "ecdsa-p256"}
    if algorithm not in kinds:
        raise InputError("no such algorithm", facts={"given": algorithm}, hint=" or ".join(kinds))
    if role not in ROLES and not custom_role:
        raise InputError(
            "no such role",
            facts={"given": role, "known": ", ".join(ROLES)},
            hint="give --custom-role if your policy asks for it",
        )
    if from_public is not None:
        key_id = import_public_key(path, from_public, role, name).key_id
    else:
        if is_begun(path):
            talk().print(f"finishing the key that an earlier run began: {path}", soft_wrap=True)
        key_id = generate_key(path, role, name, algorithm=kinds[algorithm]).key_id
    typer.echo(f"{key_id} {role} {public_path(path)}")

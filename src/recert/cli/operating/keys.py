"""`recert keys`: API keys of the gateway, each with what it may and how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recert.cli.options import AsJson

app = typer.Typer(no_args_is_help=True, help="Make, list and remove API keys of the gateway.")

File = Annotated[Path, typer.Option("--keys", help="The file of keys. A running gateway reads it again.")]
_DEFAULT = Path("keys.json")


@app.command()
def new(
    *,
    name: Annotated[str, typer.Argument(help="Of the client; its keys share what is counted.")],
    keys: File = _DEFAULT,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model it may ask, or a pattern such as `support-*`; by default all."),
    ] = None,
    routes: Annotated[
        list[str] | None,
        typer.Option(
            "--route",
            help="What it may ask for: `chat`, `models`, `status`, `metrics`, `guardrail`, `tuning`; by default the "
            "first three.",
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    requests_per_day: Annotated[int | None, typer.Option(help="Requests a day of UTC.")] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens a minute, of prompts and replies together.")
    ] = None,
    tokens_per_day: Annotated[int | None, typer.Option(help="Tokens a day of UTC.")] = None,
    requests_at_once: Annotated[
        int | None, typer.Option(help="Requests that are answered at once, in one gateway.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="When it ends, as `2027-01-31T00:00:00Z`; by default never.")
    ] = None,
) -> None:
    """
    Make a key and print it. The file gets its digest: the key itself is shown this once and kept nowhere.

    Exit 0: made, 2: not made.
    """
    from recert.gateway.access.keys_file import KeysFile, read_keys_file

    before = read_keys_file(keys) if keys.exists() else KeysFile()
    after, key = before.with_new(
        name,
        models=models,
        routes=routes,
        requests_per_minute=requests_per_minute,
        requests_per_day=requests_per_day,
        tokens_per_minute=tokens_per_minute,
        tokens_per_day=tokens_per_day,
        requests_at_once=requests_at_once,
        expires_at=expires_at,
    )
    after.write(keys)
    typer.echo(key)


@app.command("list")
def show(*, keys: File = _DEFAULT, as_json: AsJson = False) -> None:
    """
    List the keys of a file: client, beginning of the digest, and what each may.

    Exit 0: listed, 2: the file cannot be read.
    """
    from recert.gateway.access.keys_file import read_keys_file

    found = read_keys_file(keys)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    for entry in found.keys:
        said = entry.model_dump(mode="json", exclude_defaults=True, exclude={"name", "sha256"})
        bounds = ", ".join(f"{field} {value}" for field, value in said.items()) or "no bounds"
        typer.echo(f"{entry.name}  {entry.sha256[:12]}  {bounds}")


@app.command()
def remove(
    *,
    names: Annotated[list[str], typer.Argument(help="Of clients, or beginnings of digests.")],
    keys: File = _DEFAULT,
) -> None:
    """
    Remove keys. A running gateway refuses them about a second later.

    Exit 0: removed, 2: there is no such key.
    """
    from recert.gateway.access.keys_file import read_keys_file

    read_keys_file(keys).without(names).write(keys)

"""
The `recert` command: one small file per command, listed here in the order in which they are used.

Command modules import only typer at the top, so that `--help` comes at once; a command's own imports
are made when it runs.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recert import __version__
from recert.cli import policy
from recert.errors import RecertError


class _Commands(TyperGroup):
    """Ctrl-C counts as "could not answer", whatever the version of typer makes of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise RecertError("interrupted", hint="nothing half-written was left; run it again") from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001
    if asked:
        typer.echo(f"recert {__version__}")
        raise typer.Exit


@app.callback()
def recert(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """
    A fine-tuned model is a new system: screen, tune, evaluate, certify, serve, watch.

    Exit 0: yes. 1: no. 2: could not answer.
    """


app.add_typer(policy.app, name="policy")

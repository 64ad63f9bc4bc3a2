"""
The `recert` command: one small file per command, listed here in the order in which they are used.

Command modules import only typer at the top, so that `--help` comes at once; a command's own imports
are made when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recert import __version__
from recert.cli import policy
from recert.cli.approve import approve
from recert.cli.certify import certify
from recert.cli.demo import demo
from recert.cli.evaluate import evaluate
from recert.cli.keygen import keygen
from recert.cli.renew import renew
from recert.cli.revoke import revoke, status_list
from recert.cli.run import run
from recert.cli.screen import screen
from recert.cli.serve import serve
from recert.cli.tune import tune
from recert.cli.verify import verify
from recert.cli.watch import watch
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


_STAGES: dict[str, Callable[..., None]] = {
    "screen": screen,
    "tune": tune,
    "evaluate": evaluate,
    "certify": certify,
    "approve": approve,
    "verify": verify,
    "renew": renew,
    "revoke": revoke,
    "serve": serve,
    "watch": watch,
}
_WHOLE: dict[str, Callable[..., None]] = {"run": run, "demo": demo}
_AROUND: dict[str, Callable[..., None]] = {"keygen": keygen, "status": status_list}

for panel, commands in (
    ("The stages, in the order data flows", _STAGES),
    ("All of it", _WHOLE),
    ("Around them", _AROUND),
):
    for verb, command in commands.items():
        app.command(verb, rich_help_panel=panel)(command)
app.add_typer(policy.app, name="policy", rich_help_panel="Around them")

"""
The `recert` command: one small file per command, listed here in the order in which they are used.

Command modules import only typer at the top, so that `--help` comes at once; a command's own imports
are made when it runs.
"""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Timer
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recert import __version__
from recert.cli.certifying import log, trust
from recert.cli.certifying.keygen import keygen
from recert.cli.certifying.revoke import revoke, status_list
from recert.cli.chain.approve import approve
from recert.cli.chain.certify import certify
from recert.cli.chain.connect import connect
from recert.cli.chain.demo import demo
from recert.cli.chain.renew import renew
from recert.cli.chain.run import run
from recert.cli.chain.screen import screen
from recert.cli.chain.tune import tune
from recert.cli.chain.verify import verify
from recert.cli.evaluating import policy, suites
from recert.cli.evaluating.attempts import attempts
from recert.cli.evaluating.compare import compare
from recert.cli.evaluating.evaluate import evaluate
from recert.cli.evaluating.export import export
from recert.cli.evaluating.fingerprint import fingerprint
from recert.cli.evaluating.imports import import_
from recert.cli.evaluating.label import label
from recert.cli.evaluating.qualify import qualify
from recert.cli.labs.attack import attack
from recert.cli.labs.hunt import hunt
from recert.cli.labs.stress import stress
from recert.cli.operating import audit, console, database, keys, service
from recert.cli.operating.attest import attest, attest_storage
from recert.cli.operating.backtest import backtest
from recert.cli.operating.serve import serve
from recert.cli.operating.stop import promote, resume, rollback, stop
from recert.cli.operating.watch import watch
from recert.errors import RecertError


class _Commands(TyperGroup):
    """Ctrl-C and SIGTERM count as "could not answer", whatever the version of typer makes of them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _interruptible():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            # Where it came from within an exec() of text, as in many imports, Python would exit by the signal
            # and not with 2, unless another exec() went well since.
            exec("")  # noqa: S102
            raise RecertError("interrupted", hint="nothing half-written was left; run it again") from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """
    Let SIGTERM clean up as Ctrl-C does, and let neither be lost.

    Python drops a KeyboardInterrupt that comes while an object is finalised, which happens often while
    models are loaded. It is raised again a moment later.
    """
    handler, hook = signal.signal(signal.SIGTERM, signal.default_int_handler), sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            soon = Timer(0.05, interrupt_main)
            soon.daemon = True
            soon.start()
        else:
            hook(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, handler)


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
    "label": label,
    "certify": certify,
    "approve": approve,
    "verify": verify,
    "renew": renew,
    "revoke": revoke,
    "serve": serve,
    "watch": watch,
}
_WHOLE: dict[str, Callable[..., None]] = {"run": run, "demo": demo}
_LABS: dict[str, Callable[..., None]] = {"hunt": hunt, "attack": attack} if find_spec("recert.labs") else {}
_BEFORE: dict[str, Callable[..., None]] = {"qualify": qualify} | (
    {"stress": stress} if find_spec("recert.labs") else {}
)
_TOOLS: dict[str, Callable[..., None]] = {
    "connect": connect,
    "import": import_,
    "compare": compare,
    "export": export,
}
_RUNNING: dict[str, Callable[..., None]] = {
    "stop": stop,
    "resume": resume,
    "rollback": rollback,
    "promote": promote,
    "backtest": backtest,
}
_ELSEWHERE: dict[str, Callable[..., None]] = {
    "attest": attest,
    "attest-storage": attest_storage,
    "fingerprint": fingerprint,
}
_AROUND: dict[str, Callable[..., None]] = {"keygen": keygen, "status": status_list, "attempts": attempts}

for panel, commands in (
    ("The stages, in the order data flows", _STAGES),
    ("All of it", _WHOLE),
    ("What nobody told us about", _LABS),
    ("A base, before it is tuned", _BEFORE),
    ("With other tools", _TOOLS),
    ("A running gateway", _RUNNING),
    ("Model servers of your own", _ELSEWHERE),
    ("Around them", _AROUND),
):
    for verb, command in commands.items():
        app.command(verb, rich_help_panel=panel)(command)
app.add_typer(audit.app, name="audit", rich_help_panel="Around them")
app.add_typer(console.app, name="console", rich_help_panel="All of it")
app.add_typer(database.app, name="db", rich_help_panel="Around them")
app.add_typer(keys.app, name="keys", rich_help_panel="Around them")
app.add_typer(log.app, name="log", rich_help_panel="Around them")
app.add_typer(suites.app, name="suites", rich_help_panel="Around them")
app.add_typer(policy.app, name="policy", rich_help_panel="Around them")
app.add_typer(trust.app, name="trust", rich_help_panel="Around them")
app.add_typer(service.app, name="service", rich_help_panel="All of it")

"""`recert stop`, `resume`, `rollback` and `promote`: orders to a running gateway, which obeys within seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recert.records.live.orders import Order

State = Annotated[
    Path, typer.Option(help="The gateway's state folder; `recert-state` beside its audit log by default.")
]
Name = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="A model, or an alias: all that it leads to.")
]
Everything = Annotated[bool, typer.Option("--all", help="Every model of the gateway.")]
DEFAULT_STATE = Path("recert-state")


def stop(
    *,
    model: Name = None,
    everything: Everything = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")] = "",
    state: State = DEFAULT_STATE,
) -> None:
    """
    Stop serving a model, or all, within seconds, running streams included; until `recert resume`.

    Exit 0: it is served no more, 2: that is not sure, or the gateway that runs serves no such model.
    """
    from recert.workflows.deploy.ordering import stop_model

    name = _named(model, everything)
    _told(state, stop_model(state, name, reason), done=f"stopped {_words(name)}")


def resume(
    *,
    model: Name = None,
    everything: Everything = False,
    state: State = DEFAULT_STATE,
) -> None:
    """
    Serve again what was stopped, where its certificate still holds. `--all` also begins anew where orders are damaged.

    Exit 0: the stop is lifted, 2: it is not, or there was none.
    """
    from recert.workflows.deploy.ordering import resume_model

    name = _named(model, everything)
    _told(state, resume_model(state, name), done=f"resumed {_words(name)}")


def rollback(
    *,
    alias: Annotated[str, typer.Argument(help="The alias.")],
    lift: Annotated[bool, typer.Option("--lift", help="Let the canary answer its share again.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")] = "",
    state: State = DEFAULT_STATE,
) -> None:
    """
    Lead all clients of an alias to its stable model, within seconds; until lifted.

    Exit 0: done, 2: that is not sure.
    """

    def change(orders: list[Order]) -> list[Order]:
        from recert.gateway.access.kill_switch import make_order
        from recert.workflows.deploy.promotion import with_order

        if lift:
            return _without(orders, "rollback", alias)
        return with_order(orders, make_order("rollback", alias, reason))

    _give(state, change, done=f"{'lifted the rollback of' if lift else 'rolled back'} {alias}")


def promote(
    *,
    alias: Annotated[str, typer.Argument(help="The alias.")],
    certificate: Annotated[Path | None, typer.Option(help="The canary's certificate.")] = None,
    watch_report: Annotated[
        Path | None, typer.Option(help="Report of a `recert watch` of the canary, which decides.")
    ] = None,
    link: Annotated[
        Path | None,
        typer.Option(help="Who signed that they watched; by default the watch's link beside its report."),
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="Trusted keys, of watchers among them.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy that decided, as a TOML file; a shipped profile is found by itself."),
    ] = None,
    lift: Annotated[
        bool, typer.Option("--lift", help="Let stable model and canary answer their shares again.")
    ] = False,
    state: State = DEFAULT_STATE,
) -> None:
    """
    Lead all clients of an alias to its canary where a watch of it is clean, else to the stable model, within seconds.

    Exit 0: promoted, or lifted, 1: rolled back, 2: nothing is sure to have changed.
    """
    from recert.certification import TrustStore, read_unverified
    from recert.cli.certifying.signing import load_policy_of, load_watch_link
    from recert.cli.loading import load_record
    from recert.cli.printing import NO, YES
    from recert.errors import InputError
    from recert.records.live.watching import WatchReport
    from recert.store.files.writing import read_bytes

    if lift:
        return _give(
            state, lambda orders: _without(orders, "promote", alias), done=f"lifted the promotion of {alias}"
        )
    if certificate is None or watch_report is None or trust is None:
        raise InputError(
            "say what was watched, and by whom", hint="--certificate, --watch-report and --trust; or --lift"
        )
    signed, report = read_bytes(certificate, "certificate"), load_record(WatchReport, watch_report)
    bounds = load_policy_of(read_unverified(signed), policy)
    if bounds is None:
        raise InputError("the policy that decided is not known", hint="give --policy FILE")
    by = load_watch_link(watch_report, link)
    trusted = TrustStore.load(trust)
    decided: list[Order] = []

    def change(orders: list[Order]) -> list[Order]:
        from recert.workflows.deploy.promotion import order_by_watch, with_order

        decided.append(
            order_by_watch(alias, signed, report, link=by, trust=trusted, policy=bounds, standing=orders)
        )
        return with_order(orders, decided[0])

    _give(state, change, done=lambda: _said(decided[0]))
    raise typer.Exit(YES if decided[0].kind == "promote" else NO)


def _said(order: Order) -> str:
    did = "promoted the canary of" if order.kind == "promote" else "rolled back"
    return f"{did} {order.name}: {order.reason} ({order.serial})"


def _named(model: str | None, everything: bool) -> str:  # noqa: FBT001
    from recert.errors import InputError

    if (model is None) == (not everything):
        raise InputError("say which model, or --all", hint="one of the two")
    return model or "*"


def _words(name: str) -> str:
    return "every model" if name == "*" else name


def _without(orders: list[Order], kind: str, name: str) -> list[Order]:
    return [order for order in orders if (order.kind, order.name) != (kind, name)]


def _give(
    state: Path, change: Callable[[list[Order]], list[Order]], *, done: str | Callable[[], str]
) -> None:
    from recert.workflows.deploy.ordering import change_orders

    confirmed = change_orders(state, change)
    _told(state, confirmed, done=done if isinstance(done, str) else done())


def _told(state: Path, confirmed: bool | None, *, done: str) -> None:  # noqa: FBT001
    """Say what became of an order."""
    from recert.errors import GatewayError

    if confirmed is False:
        raise GatewayError(
            "not-confirmed",
            "the order is written, and the gateway has not said that it obeys",
            facts={"state": state},
            hint="look at its /status; end the process if in doubt",
        )
    typer.echo(done if confirmed else f"{done}: no gateway runs here; it holds from its next start")

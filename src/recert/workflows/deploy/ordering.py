"""Orders given to a running gateway, by a command or in the console: stop, resume, and whatever else changes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from recert.errors import InputError, RecordError, StoreError
from recert.gateway.access.kill_switch import give, make_order, read_orders
from recert.gateway.serving.state import served_names
from recert.records.live.orders import EVERY_MODEL, Order, StandingOrders
from recert.workflows.deploy.promotion import with_order

_ONE: Final = threading.Lock()
"""Orders are read, changed and written by one at a time, within a process."""


def stop_model(state: Path, name: str, reason: str, *, by: str = "") -> bool | None:
    """
    Stop serving a model, or all (`*`), until it is resumed; running streams included.

    Args:
        state: the gateway's state folder.
        name: a model, or an alias: all that it leads to.
        reason: why.
        by: who says so; by default the user of this machine.

    Returns:
        As `change_orders`.

    Raises:
        InputError: the gateway that runs has no such model or alias.
        GatewayError, RecordError, StoreError: as `change_orders`.
    """
    served = served_names(state)
    if name != EVERY_MODEL and served and name not in served:
        raise InputError(
            "no such model or alias is served: nothing was stopped",
            facts={"given": name, "served": ", ".join(served)},
            hint="give one of these names; --all stops every model",
        )
    about = {"by": by} if by else {}

    def change(orders: list[Order]) -> list[Order]:
        return with_order(orders, make_order("stop", name, reason, **about))

    return change_orders(state, change, anew=name == EVERY_MODEL)


def resume_model(state: Path, name: str) -> bool | None:
    """
    Serve again what was stopped. `*` lifts every stop, and begins anew where orders are damaged.

    Returns:
        As `change_orders`.

    Raises:
        InputError: it was not stopped, or every model is.
        GatewayError, RecordError, StoreError: as `change_orders`.
    """

    def change(orders: list[Order]) -> list[Order]:
        stopped = {order.name for order in orders if order.kind == "stop"}
        if name != EVERY_MODEL and EVERY_MODEL in stopped:
            raise InputError("every model is stopped, not this one alone", hint="run `recert resume --all`")
        if name != EVERY_MODEL and name not in stopped:
            raise InputError(
                "it was not stopped", facts={"given": name, "stopped": ", ".join(sorted(stopped))}
            )
        return [order for order in orders if order.kind != "stop" or name not in (order.name, EVERY_MODEL)]

    return change_orders(state, change, anew=name == EVERY_MODEL)


def change_orders(
    state: Path, change: Callable[[list[Order]], list[Order]], *, anew: bool = False
) -> bool | None:
    """
    Change the orders in force, and wait until the gateway obeys.

    Args:
        state: the gateway's state folder.
        change: from the orders in force to those that are to be.
        anew: whether damaged orders are put aside, and it begins without any.

    Returns:
        True once the gateway obeys, None where none runs on this folder, False where that is not sure after 5 s.

    Raises:
        InputError: there is no such folder.
        GatewayError: `state-unsafe`: the folder is not this user's alone.
        RecordError: the orders are damaged: while they are, nothing is served.
        StoreError: they cannot be written.
    """
    if not state.is_dir():
        raise InputError(
            "no such state folder: nobody was told",
            facts={"state": state},
            hint="give the folder that the gateway was started with: --state",
        )
    with _ONE:
        try:
            orders = read_orders(state)
        except (RecordError, StoreError) as exc:
            if not anew:
                raise RecordError(
                    exc.message,
                    facts={"state": state, **exc.facts},
                    hint="while they are damaged nothing is served; `recert resume --all` begins anew, without orders",
                ) from exc
            orders = StandingOrders()
        return give(state, orders.model_copy(update={"orders": tuple(change(list(orders.orders)))}))

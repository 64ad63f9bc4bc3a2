"""What an operator ordered a running gateway to do: stop, go back to the stable model, or on to the canary."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from recert.records.data.manifest import Sha256
from recert.records.record import Moment, Part, Record

EVERY_MODEL = "*"


class Order(Part):
    """One order, in force until it is lifted."""

    kind: Literal["stop", "rollback", "promote"]
    name: str = Field(min_length=1)
    """The model or alias; `*` for every model. Rollbacks and promotions are of an alias."""
    reason: str
    by: str
    """Who gave it: the user's name on the machine, or the name of who did so in the console."""
    ordered_at: Moment
    serial: str = ""
    """Of the canary's certificate, where a watch of it was decided on."""
    tuned_sha256: Sha256 | None = None
    """What is promoted: the canary with these files, and no other."""
    watch_report_sha256: Sha256 | None = None
    """The watch that was decided on."""


class StandingOrders(Record):
    """Every order in force: the file that `recert stop`, `resume`, `rollback` and `promote` write."""

    schema_name: ClassVar[str] = "standing-orders"

    orders: tuple[Order, ...] = ()


class OrderNote(Record):
    """What became of an order: a line of the audit log."""

    schema_name: ClassVar[str] = "order-note"

    event: Literal["in-force", "lifted", "unreadable"]
    """`unreadable`: the orders cannot be read, so that every model is stopped."""
    order: Order | None = None
    because: str = ""
    noticed_at: Moment

"""The kill switch: orders in a file that a running gateway looks at twice a second, and obeys until they are lifted."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import orjson

from recert.digest import sha256_bytes
from recert.errors import GatewayError, RecertError, RecordError, StoreError
from recert.gateway.serving.state import ORDERS, TAKEN_UP, is_in_use, require_private
from recert.records.live.orders import EVERY_MODEL, Order, OrderNote, StandingOrders
from recert.records.record import now, parse_json
from recert.store.files.writing import read_bytes, write_atomic

log = logging.getLogger("recert.gateway")

STOPPED: Final = "stopped-by-operator"
UNREADABLE: Final = "orders-unreadable"
UNCHECKED: Final = "orders-unchecked"
LOOK_S: Final = 0.5
_LONGEST_UNCHECKED_S: Final = 4.0
CONFIRM_S: Final = 5.0
"""How long a command waits until the gateway has taken up its order."""


class KillSwitch:
    """
    The orders in force, as the gateway knows them. Unreadable, missing, or another user's file: everything is stopped.

    Args:
        folder: the state folder.
        note: told of each order that comes into force or is lifted.
    """

    def __init__(self, folder: Path, note: Callable[[OrderNote], object] = lambda _: None) -> None:
        self._folder = folder
        self._note = note
        self._orders: frozenset[Order] = frozenset()
        self._stopped: frozenset[str] = frozenset()
        self._rolled_back: frozenset[str] = frozenset()
        self._promoted: dict[str, str] = {}
        self._problem = ""
        self._looked_at = time.monotonic()
        self._taken_up = b""
        self._ended = threading.Event()
        self._also: tuple[Callable[[], object], ...] = ()
        self.look()

    def reason(self, name: str, also_called: Iterable[str] = ()) -> str:
        """Return why a model is stopped by order, or an empty text. `also_called`: aliases that lead to it."""
        if time.monotonic() - self._looked_at > _LONGEST_UNCHECKED_S and not self._ended.is_set():
            return UNCHECKED
        stopped = self._stopped
        if stopped and not stopped.isdisjoint((EVERY_MODEL, name, *also_called)):
            return STOPPED
        return self._problem

    def is_rolled_back(self, alias: str) -> bool:
        """Say whether an alias leads to its stable model alone."""
        return alias in self._rolled_back

    def promoted(self, alias: str) -> str:
        """Return which files lead an alias's clients to its canary, as their manifest's sha256, or an empty text."""
        return "" if alias in self._rolled_back else self._promoted.get(alias, "")

    def look(self) -> None:
        """Read the orders. Called twice a second; never raises."""
        try:
            data = _read(self._folder)
            orders = frozenset(_parse(data, self._folder).orders)
        except RecertError as exc:
            if not self._problem:
                self._problem = UNREADABLE
                log.error("orders cannot be read, every model is stopped: %s", exc)
                self._tell(OrderNote(event="unreadable", because=exc.message, noticed_at=now()))
        else:
            if data != self._taken_up or self._problem:
                self._take_up(data, orders)
        self._looked_at = time.monotonic()

    def start(self, *also: Callable[[], object]) -> None:
        """Look twice a second from now on, and call `also` each time."""
        self._also = also
        self._looked_at = time.monotonic()
        threading.Thread(target=self._loop, name="orders", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _loop(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.look()
            for call in self._also:
                call()

    def _take_up(self, data: bytes, orders: frozenset[Order]) -> None:
        before, self._orders = self._orders, orders
        self._stopped = frozenset(order.name for order in orders if order.kind == "stop")
        self._rolled_back = frozenset(order.name for order in orders if order.kind == "rollback")
        self._promoted = {o.name: o.tuned_sha256 or "" for o in orders if o.kind == "promote"}
        self._problem, self._taken_up = "", data
        for event, some in (("in-force", orders - before), ("lifted", before - orders)):
            for order in sorted(some, key=lambda order: order.ordered_at):
                log.warning(
                    "order %s: %s %s (%s, by %s)", event, order.kind, order.name, order.reason, order.by
                )
                self._tell(OrderNote.model_validate({"event": event, "order": order, "noticed_at": now()}))
        with contextlib.suppress(StoreError):  # obeyed all the same; only the command is not told
            said = {"sha256": sha256_bytes(data), "at": now().isoformat()}
            write_atomic(self._folder / TAKEN_UP, orjson.dumps(said), mode=0o600)

    def _tell(self, note: OrderNote) -> None:
        try:
            self._note(note)
        except Exception as exc:  # an order holds whether or not it can be written down
            log.error("an order could not be noted: %s", type(exc).__name__)


def read_orders(folder: Path) -> StandingOrders:
    """
    Return the orders in force, for whoever gives new ones.

    Raises:
        GatewayError: `state-unsafe`: the folder is not this user's alone.
        StoreError: there are none, or they cannot be read.
        RecordError: they are damaged, or not this user's.
    """
    require_private(folder)
    if not any(folder.iterdir()):
        return StandingOrders()
    return _parse(_read(folder), folder)


def give(folder: Path, orders: StandingOrders) -> bool | None:
    """
    Write the orders, and wait until the gateway obeys.

    Returns:
        True once it does, None where no gateway runs on this folder, False where it did not within 5 s.

    Raises:
        GatewayError: `state-unsafe`: the folder is not this user's alone.
        StoreError: they cannot be written.
    """
    require_private(folder)
    data = orders.to_json()
    write_atomic(folder / ORDERS, data, mode=0o600)
    end = time.monotonic() + CONFIRM_S
    while is_in_use(folder):
        with contextlib.suppress(StoreError, RecordError, LookupError, TypeError):
            if parse_json(read_bytes(folder / TAKEN_UP))["sha256"] == sha256_bytes(data):
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return None


def make_order(kind: str, name: str, reason: str, **about: str) -> Order:
    """Return an order of this user's, given now; `about` the certificate and watch that it was decided on."""
    try:
        by = getpass.getuser()
    except (KeyError, OSError):
        by = str(os.geteuid())
    given = {"kind": kind, "name": name, "reason": reason, "by": by, "ordered_at": now()}
    return Order.model_validate(given | about)


def _read(folder: Path) -> bytes:
    """The file's content, if it is a plain file of this user's that nobody else can write."""
    path = folder / ORDERS
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise StoreError("cannot read the orders", facts={"file": path, "because": exc.strerror}) from exc
    with os.fdopen(file, "rb") as opened:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
            raise RecordError("the orders could be somebody else's", facts={"file": path})
        try:
            return opened.read()
        except OSError as exc:
            raise StoreError("cannot read the orders", facts={"file": path, "because": exc.strerror}) from exc


def _parse(data: bytes, folder: Path) -> StandingOrders:
    orders = StandingOrders.from_json(data)
    if orders.schema_version != 1:
        raise GatewayError(UNREADABLE, "the orders are of another version", facts={"folder": folder})
    return orders

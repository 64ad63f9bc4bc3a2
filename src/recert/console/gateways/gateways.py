"""The gateways that a console knows, and what is known of each: asked beside the pages, so that no page waits long."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recert.console.gateways.gateway_asking import Said, ask
from recert.console.gateways.gateway_counts import LogCounts, Minutes, Name, Window
from recert.console.settings import GatewaySettings
from recert.errors import RecertError, RecordError, StoreError
from recert.gateway.access.kill_switch import read_orders
from recert.gateway.serving.state import is_in_use
from recert.records.live.orders import Order

DEFAULT_STATE: Final = "recert-state"
_FRESH_S: Final = 1.0
_WAIT_S: Final = 0.2
"""A page waits so long at most for gateways that are being asked."""
_AT_ONCE: Final = 8
_MOST_OF_SERVICE: Final = 50
_LOG_ROUNDS: Final = 8
"""Pieces of a log that are read in one go."""


@dataclass(frozen=True)
class Seen:
    """What is known of a gateway at one moment."""

    name: str
    settings: GatewaySettings
    said: Said | None
    """What it said last, unless it is unreachable now."""
    trouble: str
    """Why it cannot be reached; empty where it can, or where there is no address to ask."""
    trouble_since_s: float
    window: Window
    counted_by: str
    """`audit log` or `metrics`; empty where nothing is counted."""
    log_trouble: str
    behind: bool
    """Whether the log is still being read."""
    serial: str
    """Of the certificate of the last exchange in the log; empty where none is known."""
    model: str
    runs: bool | None
    """Whether a gateway runs on its state folder; None where that is not known."""
    orders: tuple[Order, ...]
    orders_trouble: str

    @property
    def state(self) -> str:
        """`serving`, `stopped`, `unreachable`, `running`, `down` or `unknown`."""
        if self.said is not None:
            return self.said.state
        if self.trouble:
            return "unreachable"
        if self.runs is None:
            return "unknown"
        if self.runs and any(order.kind == "stop" and order.name == "*" for order in self.orders):
            return "stopped"
        return "running" if self.runs else "down"

    @property
    def can_be_stopped(self) -> bool:
        """Whether orders can be given to it from here."""
        return self.settings.state is not None and self.settings.state.is_dir()

    @property
    def names(self) -> tuple[str, ...]:
        """What orders can name: models, aliases, and whatever is stopped by name."""
        said = [*(m.name for m in self.said.models), *self.said.aliases] if self.said else [self.model]
        ordered = [order.name for order in self.orders if order.kind == "stop"]
        return tuple(dict.fromkeys(name for name in (*said, *ordered) if name and name != "*"))

    @property
    def stops(self) -> tuple[Order, ...]:
        """Orders to stop that are in force."""
        return tuple(order for order in self.orders if order.kind == "stop")


class Gateway:
    """One gateway; `refresh` is called in a thread of its own, `seen` by pages."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._minutes = Minutes()
        self._log = LogCounts(settings.audit, self._minutes) if settings.audit else None
        self._said: Said | None = None
        self._trouble, self._since_s = "", 0.0
        self._before: Mapping[Name, int] | None = None
        self.looked_at = float("-inf")

    def refresh(self) -> None:
        """Ask it, and read on in its log. Never raises."""
        if self._log is not None:
            for _ in range(_LOG_ROUNDS):
                self._log.look()
                if self._log.trouble or not self._log.behind:
                    break
        if self.settings.url:
            self._ask()
        self.looked_at = time.monotonic()

    def seen(self, *, hours: int) -> Seen:
        """Return what is known."""
        log, told = self._log, self._said
        orders, orders_trouble = self._orders()
        state = self.settings.state
        counted = "audit log" if log is not None else "metrics" if told and told.counts is not None else ""
        return Seen(
            name=self.settings.name,
            settings=self.settings,
            said=None if self._trouble else told,
            trouble=self._trouble,
            trouble_since_s=self._since_s,
            window=self._minutes.window(time.time(), hours=hours),
            counted_by=counted,
            log_trouble=log.trouble if log else "",
            behind=bool(log and log.behind and not log.trouble),
            serial=log.serial if log else "",
            model=log.model if log else "",
            runs=is_in_use(state) if state is not None and state.is_dir() else None,
            orders=orders,
            orders_trouble=orders_trouble,
        )

    def close(self) -> None:
        """Let go of its log."""
        if self._log is not None:
            self._log.close()

    def _ask(self) -> None:
        place = self.settings
        try:
            said = ask(place.url, metrics=place.metrics, key_file=place.key_file)
        except RecertError as exc:
            self._since_s = self._since_s if self._trouble else time.time()
            self._trouble = exc.message
            return
        self._trouble, self._said = "", said
        if self._log is None and said.counts is not None:
            self._compare(said.counts, said.at_s)

    def _compare(self, counts: Mapping[Name, int], at_s: float) -> None:
        """Count what came since it was asked last. A smaller count than before is that of a new start."""
        before, self._before = self._before, counts
        if before is None:
            self._minutes.begin(at_s)
            return
        for name, n in counts.items():
            more = n - before.get(name, 0)
            if more:
                self._minutes.add(at_s, name, more if more > 0 else n)

    def _orders(self) -> tuple[tuple[Order, ...], str]:
        state = self.settings.state
        if state is None or not state.is_dir():
            return (), ""
        try:
            return read_orders(state).orders, ""
        except (RecordError, StoreError) as exc:
            return (), f"{exc.message}: every model is stopped until orders are given anew"
        except RecertError as exc:
            return (), exc.message


class Gateways:
    """
    Every gateway that a console knows.

    Args:
        settings: those of `console.toml`.
        logs: audit logs of others, each of a gateway.
        service_folder: of the tuning service, whose gateways come and go.
    """

    def __init__(
        self,
        settings: Sequence[GatewaySettings] = (),
        *,
        logs: Iterable[Path] = (),
        service_folder: Path | None = None,
    ) -> None:
        self._fixed: dict[str, Gateway] = {}
        for one in settings:
            self._fixed[one.name] = Gateway(one)
        known = {one.audit.absolute() for one in settings if one.audit}
        for log in logs:
            if log.absolute() not in known:
                self._add_log(log)
        self._service = service_folder / "gateways" if service_folder else None
        self._of_service: dict[str, Gateway] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._asked: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def look(self, *, hours: int = 1) -> tuple[Seen, ...]:
        """Return what is known of each; those that were not asked for a second are asked, for a moment at most."""
        found = self._all()
        self._refresh(found.values())
        return tuple(gateway.seen(hours=hours) for gateway in found.values())

    def find(self, name: str, *, hours: int = 1) -> Seen | None:
        """Return what is known of one; None where there is none of this name."""
        gateway = self._all().get(name)
        if gateway is None:
            return None
        self._refresh([gateway])
        return gateway.seen(hours=hours)

    def close(self) -> None:
        """Ask no more."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None
        for gateway in (*self._fixed.values(), *self._of_service.values()):
            gateway.close()

    def _refresh(self, gateways: Iterable[Gateway]) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="gateways")
            for gateway in gateways:
                name = gateway.settings.name
                under_way = name in self._asked and not self._asked[name].done()
                if not under_way and time.monotonic() - gateway.looked_at > _FRESH_S:
                    self._asked[name] = self._pool.submit(gateway.refresh)
            waiting = [one for one in self._asked.values() if not one.done()]
        wait(waiting, timeout=_WAIT_S)

    def _all(self) -> dict[str, Gateway]:
        return self._fixed | self._running_of_service()

    def _running_of_service(self) -> dict[str, Gateway]:
        """Those of the tuning service, by the folders that it made: one for each model that was ever asked."""
        if self._service is None or not self._service.is_dir():
            return {}
        folders = [one for one in self._service.iterdir() if (one / "audit.jsonl").exists()]
        newest = sorted(folders, key=lambda one: -(one / "audit.jsonl").stat().st_mtime)[:_MOST_OF_SERVICE]
        with self._lock:
            for folder in newest:
                name = _slug(folder.name)
                if name not in self._of_service and name not in self._fixed:
                    given = GatewaySettings(name=name, audit=folder / "audit.jsonl", state=folder / "state")
                    self._of_service[name] = Gateway(given)
            return {name: one for f in newest if (one := self._of_service.get(name := _slug(f.name)))}

    def _add_log(self, log: Path) -> None:
        """A gateway that is known by its log; its state folder lies beside it by default."""
        name = first = _slug(log.absolute().parent.name)
        number = 2
        while name in self._fixed:
            name, number = f"{first[:60]}-{number}", number + 1
        self._fixed[name] = Gateway(GatewaySettings(name=name, audit=log, state=log.parent / DEFAULT_STATE))


def _slug(name: str) -> str:
    """A name that is safe in a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:64] or "gateway"

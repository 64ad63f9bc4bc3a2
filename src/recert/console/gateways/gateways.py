"""
The gateways that a console knows, and what is known of each: asked beside the pages, so that no page waits long.

Here too: what a gateway says of itself when it is asked: its `/status`, and what it counted by `/metrics`.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from prometheus_client.parser import text_string_to_metric_families

from recert.console.gateways.gateway_counts import LogCounts, Minutes, Name, Window, end_of
from recert.console.settings import GatewaySettings
from recert.errors import GatewayError, RecertError, RecordError, StoreError
from recert.gateway.access.kill_switch import read_orders
from recert.gateway.protocol.routes import METRICS_PAGE, STATUS_PAGE
from recert.gateway.serving.state import is_in_use
from recert.records.live.orders import Order
from recert.store.files.private import read_private

_LONGEST_S: Final = 3.0
_MOST_BYTES: Final = 4 * 2**20
_KEY_BYTES: Final = 4096
_MOST_MODELS: Final = 200


@dataclass(frozen=True)
class ModelState:
    """One model of a gateway, as the gateway says."""

    name: str
    state: str
    """`serving`, `stopped` or `refused`."""
    reason: str
    serial: str = ""
    expires_at: datetime | None = None
    controls: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What a gateway said of itself at one moment."""

    state: str
    """`serving`, or `stopped` where no model may answer."""
    models: tuple[ModelState, ...]
    aliases: tuple[str, ...]
    at_s: float
    counts: Mapping[Name, int] | None
    """What it counted since it was started; None where its metrics cannot be asked."""
    running: int | None
    """Requests under way."""
    metrics_trouble: str = ""
    """Why its metrics cannot be asked."""


def ask(url: str, *, metrics: str = "", key_file: Path | None = None) -> Said:
    """
    Ask a gateway for its state and its counts.

    Args:
        url: where it answers.
        metrics: where it answers `/metrics`, if that is elsewhere.
        key_file: of mode 0600, with the API key.

    Raises:
        GatewayError: `unreachable`: it does not answer, or with something else than a state.
        StoreError, SigningKeyError: the file of the key cannot be read, or others may.
    """
    key = ""
    if key_file is not None:
        key = read_private(key_file, "gateway's key", most_bytes=_KEY_BYTES).decode(errors="replace").strip()
    data = _get(url + STATUS_PAGE.path, key)
    at_s = time.time()
    try:
        status = orjson.loads(data)
        models = tuple(_model(one) for one in status["models"][:_MOST_MODELS])
        aliases = tuple(str(one["name"]) for one in status.get("aliases", ())[:_MOST_MODELS])
        state = str(status["state"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError) as exc:
        raise _unreachable("its /status is none that this version knows") from exc
    try:
        page = _get((metrics or url) + METRICS_PAGE.path, "" if metrics else key)
        counts, running = read_metrics(page.decode())
    except (RecertError, ValueError, LookupError) as exc:
        why = exc.message if isinstance(exc, RecertError) else "they cannot be read"
        return Said(state, models, aliases, at_s, None, None, why)
    return Said(state, models, aliases, at_s, counts, running)


def read_metrics(page: str) -> tuple[Mapping[Name, int], int | None]:
    """
    Return what a gateway counted, and how many requests are under way.

    Raises:
        ValueError, LookupError: it is no page of metrics.
    """
    counts: Counter[Name] = Counter()
    running: int | None = None
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "recert_exchanges_total":
                end = end_of(sample.labels["decision"])
                if end is not None:
                    counts[end] += int(sample.value)
            elif sample.name == "recert_control_blocks_total":
                labels = sample.labels
                name = Name("control", labels["control"], labels["direction"], labels["shadow"] == "true")
                counts[name] += int(sample.value)
            elif sample.name == "recert_running_requests":
                running = int(sample.value)
    return counts, running


def _model(value: Mapping[str, Any]) -> ModelState:
    certificate = value.get("certificate") or {}
    ends = certificate.get("expires_at")
    return ModelState(
        name=str(value["name"]),
        state=str(value["state"]),
        reason=str(value.get("reason", "")),
        serial=str(certificate.get("serial", "")),
        expires_at=datetime.fromisoformat(ends) if ends else None,
        controls=tuple(str(one) for one in value.get("controls", ())),
        shadow=tuple(str(one) for one in value.get("shadow", ())),
    )


def _get(url: str, key: str) -> bytes:
    """What is answered with 200, within a few seconds and megabytes; redirects are not followed."""
    parts = urlsplit(url)
    host, end = parts.hostname or "", time.monotonic() + _LONGEST_S
    open_: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
    more: dict[str, Any] = {}
    if parts.scheme == "https":
        open_, more = http.client.HTTPSConnection, {"context": ssl.create_default_context()}
    link = open_(host, parts.port, timeout=_LONGEST_S, **more)
    try:
        link.request("GET", parts.path, headers={"authorization": f"Bearer {key}"} if key else {})
        answer = link.getresponse()
        found = b""
        while piece := answer.read1(65536):
            found += piece
            if len(found) > _MOST_BYTES or time.monotonic() > end:
                raise _unreachable("its answer is too long, or too slow")
    except (OSError, http.client.HTTPException) as exc:
        said = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
        raise _unreachable(said) from exc
    finally:
        link.close()
    if answer.status in (401, 403):
        raise _unreachable(f"the key may not ask {parts.path} ({answer.status})")
    if answer.status != 200:
        raise _unreachable(f"it answers {parts.path} with {answer.status}")
    return found


def _unreachable(why: str) -> GatewayError:
    return GatewayError("unreachable", why)


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

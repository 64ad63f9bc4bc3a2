"""What a gateway says of itself when it is asked: its `/status`, and what it counted by `/metrics`."""

from __future__ import annotations

import http.client
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from prometheus_client.parser import text_string_to_metric_families

from recert.console.gateways.gateway_counts import Name, end_of
from recert.errors import GatewayError, RecertError
from recert.gateway.protocol.routes import METRICS_PAGE, STATUS_PAGE
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

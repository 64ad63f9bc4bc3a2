"""What is told of each request when it has ended: a line in the log, counts, and a span where that is wanted."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final, TextIO

import orjson

from recert.gateway.protocol.http import Http
from recert.gateway.serving.metrics import Metrics
from recert.gateway.serving.tracing import Tracer
from recert.records.record import Part, now

log = logging.getLogger("recert.requests")

_QUIET: Final = ("/healthz", "/metrics")
"""Routes that machines ask every few seconds: a line each is written at level DEBUG."""


class Telemetry:
    """
    Tells of requests. A failure in it fails no request.

    Args:
        metrics: what is counted.
        tracer: where spans go; None for none.
    """

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self._tracer = tracer

    def ended(self, http: Http) -> None:
        """Tell of a request that has ended."""
        seconds, draft = time.monotonic() - http.began, http.draft
        first_s = http.first_at - http.began if http.first_at else None
        self.metrics.request(http, seconds)
        if draft is not None:
            self.metrics.exchange(draft, first_s if draft.released_chars else None)
        level = logging.DEBUG if http.route in _QUIET else logging.INFO
        if log.isEnabledFor(level):
            line = orjson.dumps(_line(http, seconds, first_s), _part, orjson.OPT_UTC_Z)
            log.handle(log.makeRecord(log.name, level, __file__, 0, line.decode(), (), None))
        if self._tracer is not None and draft is not None:
            self._tracer.exchange(draft, http.traceparent, http.client_request_id, first_s)

    def close(self) -> None:
        """Send what is not yet sent."""
        if self._tracer is not None:
            self._tracer.close()


def _line(http: Http, seconds: float, first_s: float | None) -> dict[str, Any]:
    """Everything that is known of a request, but for its texts."""
    line: dict[str, Any] = {
        "at": now().isoformat(),
        "request_id": http.request_id,
        "client_request_id": http.client_request_id or None,
        "method": http.method,
        "route": http.route or None,
        "status": http.status,
        "code": http.code or None,
        "client": http.grant.client,
        "address": http.address,
    }
    if http.draft is not None:
        record = http.draft.last or http.draft.exchange(http.draft.decision)
        line |= {name: value for name, value in record if value is not None}
        line |= http.draft.tally.usage()
        line["first_release_seconds"] = None if first_s is None else round(first_s, 6)
    return line | {"seconds": round(seconds, 6)}


def _part(value: Any) -> Any:
    """What orjson does not know: parts of a record."""
    if isinstance(value, Part):
        return value.model_dump(mode="json", exclude_none=True)
    raise TypeError


class _Lines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what is JSON already is left as it is."""
        text = super().format(record)
        if record.name == log.name:
            return text
        return orjson.dumps(
            {"at": now().isoformat(), "level": record.levelname.lower(), "message": text}
        ).decode()


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        plain = logging.Formatter("%(levelname)s %(message)s")
        self.setFormatter(plain if sys.stderr.isatty() else _Lines())

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream."""
        return sys.stderr


def log_to_stderr() -> None:
    """Write the gateway's log to stderr: one JSON object a line, or plain words where that is a terminal."""
    ours = logging.getLogger("recert")
    for handler in [one for one in ours.handlers if isinstance(one, _ToStderr)]:
        ours.removeHandler(handler)
    ours.addHandler(_ToStderr())
    ours.setLevel(logging.INFO)

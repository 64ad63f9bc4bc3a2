"""The counts at an address of their own: for Prometheus, which has no API key."""

from __future__ import annotations

import secrets

from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.http import Http, Receive, Scope, Send
from recert.gateway.protocol.routes import METRICS_PAGE, find_route, wrong_method
from recert.gateway.serving.metrics import CONTENT_TYPE, Metrics


class MetricsPage:
    """Answers `/metrics` and nothing else."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        http = Http(scope, receive, send, secrets.token_hex(12))
        if http.path != METRICS_PAGE.path:
            await http.error(BadRequest("only /metrics is answered here", code="unknown_route", status=404))
        elif http.method != METRICS_PAGE.method:
            await http.error(wrong_method(find_route(http.path), http.path))
        else:
            page = self._metrics.page()
            await http.start(200, CONTENT_TYPE, len(page))
            await http.write(page, more=False)

"""What stands between clients and the models, whichever models they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recert.gateway.serving.limits import ServerLimits
from recert.gateway.serving.origins import Origins
from recert.gateway.serving.tls import Tls


@dataclass(frozen=True)
class EdgeConfig:
    """
    How the gateway meets its clients.

    Args:
        limits: bounds of connections and their times.
        keys_file: keys, what each may and how much, beside those of the environment.
        budgets: a SQLite file or database URL where it is counted what keys use; by default the database that
            gateways share, else a file in the state folder.
        origins: web pages that may ask from a browser.
        tls: the server's certificate and key; None for plain HTTP.
        metrics: `HOST:PORT` where `/metrics` is answered, to everyone; by default it is a route among the others, for
            keys that may ask for it.
        traces: whether a span of OpenTelemetry is sent for each exchange.
        guardrail: whether LiteLLM may ask the controls about requests and replies of models elsewhere.
    """

    limits: ServerLimits = field(default_factory=ServerLimits)
    keys_file: Path | None = None
    budgets: Path | str | None = None
    origins: Origins = field(default_factory=Origins)
    tls: Tls | None = None
    metrics: str = ""
    traces: bool = False
    guardrail: bool = False

"""What stands between clients and the models, whichever models they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from recert.gateway.limits import ServerLimits


@dataclass(frozen=True)
class Front:
    """
    How the gateway meets its clients.

    Args:
        limits: bounds of connections and their times.
    """

    limits: ServerLimits = field(default_factory=ServerLimits)

"""What a client may: which models and routes, until when, and how much."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from recert.records.record import now

CHAT: Final = "chat"
MODELS: Final = "models"
STATUS: Final = "status"
METRICS: Final = "metrics"
GUARDRAIL: Final = "guardrail"
TUNING: Final = "tuning"
"""Files, jobs and models of a tuning service."""
EVERY_ROUTE: Final = (CHAT, MODELS, STATUS, METRICS, GUARDRAIL, TUNING)
PLAIN_ROUTES: Final = (CHAT, MODELS, STATUS)
"""What a key may ask for where nothing else is said."""


@dataclass(frozen=True)
class Budget:
    """How much a client may ask; None where there is no bound. A day is one of UTC."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    """Of prompts and replies together."""
    tokens_per_day: int | None = None
    requests_at_once: int | None = None
    """In one gateway; the others are shared by all that share a database."""

    @property
    def counted(self) -> bool:
        """Whether anything of it is kept beyond this process."""
        return any(getattr(self, one.name) is not None for one in fields(self) if "_per_" in one.name)


@dataclass(frozen=True)
class Grant:
    """
    One client, as authenticated.

    Args:
        client: its name, in the audit log and for budgets.
        models: names or patterns (`support-*`) of the models it may ask.
        routes: what it may ask for, of `EVERY_ROUTE`.
        budget: how much.
        expires_at: when it ends.
    """

    client: str
    models: tuple[str, ...] = ("*",)
    routes: tuple[str, ...] = EVERY_ROUTE
    budget: Budget = field(default_factory=Budget)
    expires_at: datetime | None = None

    def may_ask(self, model: str) -> bool:
        """Say whether it may ask a model by this name."""
        return any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)

    @property
    def ended(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now() >= self.expires_at

"""What stands between clients and the models, whichever models they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recert.gateway.limits import ServerLimits


@dataclass(frozen=True)
class Front:
    """
    How the gateway meets its clients.

    Args:
        limits: bounds of connections and their times.
        keys_file: keys, what each may and how much, beside those of `RECERT_API_KEYS`.
        budgets: a SQLite file or database URL where it is counted what keys use; by default the database of
            `RECERT_DATABASE_URL`, else a file in the state folder.
        guardrail: whether LiteLLM may ask the controls about requests and replies of models elsewhere.
    """

    limits: ServerLimits = field(default_factory=ServerLimits)
    keys_file: Path | None = None
    budgets: Path | str | None = None
    guardrail: bool = False

"""The application from its parts: models, keys, budgets, and what stands before them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recert import settings
from recert.errors import GatewayError
from recert.gateway.access.budgets import Budgets
from recert.gateway.access.keys import ApiKeys
from recert.gateway.guardrail.requests import Guardrail
from recert.gateway.serving.app import GatewayApp
from recert.gateway.serving.chat import Chat
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.served import ServedModels
from recert.gateway.serving.state import StateFolder
from recert.store.audit.log import AuditLog
from recert.store.places import is_url

_BUDGETS: Final = "budgets.db"


def build_app(
    models: ServedModels, audit: AuditLog, keys: ApiKeys, front: EdgeConfig, state: StateFolder | None
) -> GatewayApp:
    """
    Return the application.

    Raises:
        GatewayError: `budgets-nowhere`: keys come from a file, and there is no place to count what they use;
            `open-origins`: every web page may ask, and there are no keys.
        MissingExtraError: spans are wanted, and OpenTelemetry is not installed.
        StoreError: that place cannot be opened, or has not the tables of this version.
    """
    if front.origins.any and not keys:
        raise GatewayError(
            "open-origins",
            "refusing to let every web page ask without API keys",
            hint="list the origins, or give keys",
        )
    budgets = Budgets(_place(front, state)) if keys.may_have_budgets else Budgets()
    guardrail = Guardrail(models, audit) if front.guardrail else None
    return GatewayApp(models, Chat(models, audit, budgets), keys, front, guardrail, budgets)


def _place(front: EdgeConfig, state: StateFolder | None) -> Path | str:
    found: Path | str | None = front.budgets or settings.database_url() or None
    if found is None and state is not None:
        found = state.folder / _BUDGETS
    if found is None:
        raise GatewayError(
            "budgets-nowhere",
            "keys from a file need a place where what they use is counted",
            hint="give a state folder, or set RECERT_DATABASE_URL",
        )
    if is_url(found):
        from recert.store.database import require_current

        require_current(str(found))
    return found

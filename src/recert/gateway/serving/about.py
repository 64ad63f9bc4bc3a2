"""What the gateway says of itself: health, status, models, its description, its counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from recert.gateway.protocol.errors import HttpError, stopped
from recert.gateway.protocol.http import Http
from recert.gateway.protocol.openapi import describe
from recert.gateway.protocol.routes import Route, asked_model
from recert.gateway.service import Stopped
from recert.gateway.serving.metrics import CONTENT_TYPE, Metrics
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.gateway.upstream.fingerprint import FingerprintUpstream


class About:
    """Answers everything that asks no model."""

    def __init__(self, models: ServedModels, metrics: Metrics, routes: Collection[Route]) -> None:
        self._routes = routes
        self._models = models
        self._metrics = metrics
        self.draining = False
        """Whether the gateway is about to end."""

    async def health(self, http: Http, _client: str) -> None:
        """Healthy while any model may answer and the gateway is not about to end."""
        reasons = ["stopping" if self.draining else served.service.reason for served in self._models]
        if all(reasons):
            await http.reply(503, orjson.dumps({"status": "stopped", "reason": reasons[0]}))
        else:
            await http.reply(200, orjson.dumps({"status": "serving"}))

    async def metrics(self, http: Http, _client: str) -> None:
        """Give what Prometheus reads."""
        page = self._metrics.page()
        await http.start(200, CONTENT_TYPE, len(page))
        await http.write(page, more=False)

    async def document(self, http: Http, _client: str) -> None:
        """Give the OpenAPI description."""
        await http.reply(200, orjson.dumps(describe(self._models, http.grant.may_ask, self._routes)))

    async def list_models(self, http: Http, client: str) -> None:
        """List the models that a client may ask now."""
        await http.reply(200, orjson.dumps({"object": "list", "data": self._listed(http, client)}))

    async def one_model(self, http: Http, client: str) -> None:
        """Say of one model that it is there."""
        wanted = asked_model(http.path)
        found = next((one for one in self._listed(http, client) if one["id"] == wanted), None)
        if found is None:
            raise HttpError(
                "there is no such model now, or this key may not ask it", status=404, kind="invalid_request_error",
                param="model", code="model_not_found",
            )  # fmt: skip
        await http.reply(200, orjson.dumps(found))

    def _listed(self, http: Http, client: str) -> list[dict[str, Any]]:
        try:
            self._models.require_any()
        except Stopped as exc:
            raise stopped(exc.reason) from exc
        return [
            {
                "id": name,
                "object": "model",
                "created": int(served.certificate.certified_at.timestamp()),
                "owned_by": "recert",
            }
            for name, served in self._models.listed(client)
            if http.grant.may_ask(name)
        ]

    async def status(self, http: Http, _client: str) -> None:
        """Say of each model what it is and whether it is served; of one alone at the top."""
        states = [_state(served) for served in self._models]
        reasons = [state["reason"] for state in states]
        whole = {
            "state": "stopped" if all(reasons) else "serving",
            "reason": reasons[0] if all(reasons) else "",
        }
        only = states[0] if self._models.only else {}
        refused = [
            {"name": name, "state": "refused", "reason": why} for name, why in self._models.refused.items()
        ]
        known = {
            "models": [*states, *refused],
            "aliases": self._models.aliases.describe(self._models.is_promoted),
        }
        await http.reply(200, orjson.dumps({**whole, **only, **known}))


def _state(served: ServedModel) -> dict[str, Any]:
    certificate, reason = served.certificate, served.service.reason
    return {
        "state": "stopped" if reason else "serving",
        "reason": reason,
        "exceptions": [e.model_dump(mode="json") for e in certificate.exceptions or ()],
        "name": served.name,
        "model": certificate.model_name,
        "certificate": {
            "serial": certificate.serial,
            "certified_at": certificate.certified_at.isoformat(),
            "expires_at": certificate.expires_at.isoformat(),
            "base_sha256": certificate.base.digest,
            "tuned_sha256": certificate.tuned.digest,
            "binds": certificate.binds,
        },
        "controls": list(served.controls.active),
        "shadow": list(served.controls.shadow),
        "unguarded": list(served.policy.gateway.unguarded),
        "required_controls": list(certificate.required_controls),
        "policy": {
            "id": served.policy.id,
            "version": served.policy.version,
            "sha256": certificate.policy_sha256,
        },
        "upstream": served.upstream.label,
        **_heard(served),
        **_compared(served),
    }


def _heard(served: ServedModel) -> dict[str, Any]:
    """Who hears what is spoken; nothing where only text is served."""
    if served.hearing is None:
        return {}
    by = served.hearing.transcriber
    state = "down" if by.down else "listening"
    return {
        "audio": {
            "transcriber": by.name,
            "sha256": by.sha256,
            "ears_sha256": by.ears.digest if by.ears else None,
            "state": state,
            "passes_on": served.hearing.bounds.passes_on,
        }
    }


def _compared(served: ServedModel) -> dict[str, Any]:
    known = served.upstream
    return {"fingerprint": known.describe()} if isinstance(known, FingerprintUpstream) else {}

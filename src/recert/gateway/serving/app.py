"""
The ASGI application: routes and who may use them.

Here too: what the gateway says of itself: health, status, models, its description, its counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import orjson

from recert.gateway.access.budgets import Budgets
from recert.gateway.access.grants import GUARDRAIL, Grant
from recert.gateway.access.keys import ApiKeys, is_loopback
from recert.gateway.audio.listening import listening
from recert.gateway.guardrail.requests import KEY_HEADER, Guardrail, is_guardrail
from recert.gateway.guardrail.requests import ROUTE as GUARDRAIL_PATH
from recert.gateway.protocol.errors import HttpError, stopped
from recert.gateway.protocol.http import Http, Receive, Scope, Send
from recert.gateway.protocol.openapi import describe
from recert.gateway.protocol.routes import (
    CHAT_COMPLETIONS,
    DOCUMENT,
    HEALTH,
    METRICS_PAGE,
    MODEL_LIST,
    ONE_MODEL,
    ROUTES,
    STATUS_PAGE,
    Route,
    asked_model,
    find_route,
    wrong_method,
)
from recert.gateway.service import Stopped
from recert.gateway.serving.chat import Chat
from recert.gateway.serving.connections import RETRY_S
from recert.gateway.serving.edge_config import EdgeConfig
from recert.gateway.serving.metrics import CONTENT_TYPE, Metrics
from recert.gateway.serving.served import ServedModel, ServedModels
from recert.gateway.serving.telemetry import Telemetry
from recert.gateway.serving.tracing import Tracer
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


_GUARDRAIL: Route = Route(GUARDRAIL_PATH, "POST", GUARDRAIL, "LiteLLM's guardrail requests.")


class GatewayApp:
    """Serves certified models. Unknown routes are refused."""

    def __init__(
        self,
        models: ServedModels,
        chat: Chat,
        keys: ApiKeys,
        front: EdgeConfig | None = None,
        guardrail: Guardrail | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.front = front or EdgeConfig()
        """How it meets its clients."""
        self.metrics = Metrics(models, lambda: self._running, lambda: chat.audit_lag)
        """What it counts."""
        self._models = models
        self._running = 0
        self._keys = keys
        self._guardrail = guardrail
        self._budgets = budgets
        routes = [one for one in ROUTES if one != METRICS_PAGE or not self.front.metrics]
        self._about = About(models, self.metrics, routes)
        self._telemetry = Telemetry(self.metrics, Tracer() if self.front.traces else None)
        self._answers: dict[Route, Callable[[Http, str], Awaitable[None]]] = {
            HEALTH: self._about.health,
            STATUS_PAGE: self._about.status,
            DOCUMENT: self._about.document,
            MODEL_LIST: self._about.list_models,
            ONE_MODEL: self._about.one_model,
            CHAT_COMPLETIONS: chat.answer,
        }
        if not self.front.metrics:
            self._answers[METRICS_PAGE] = self._about.metrics
        if guardrail is not None:
            self._answers[_GUARDRAIL] = guardrail.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            http = Http(scope, receive, send, secrets.token_hex(12), self.front.limits.body_s)
            self._running += 1
            try:
                await self._answer(http)
            except HttpError as exc:
                await http.error(exc)
            finally:
                self._running -= 1
                self._telemetry.ended(http)

    def drain(self) -> None:
        """Say at `/healthz` that no more requests should be sent here; those that come are still answered."""
        self._about.draining = True

    def end_streams(self) -> None:
        """End every reply that is under way with an error, and answer no more."""
        for served in self._models:
            served.service.end("stopping")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        for served in self._models:
            await served.upstream.open()
            served.service.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for served in self._models:
            await served.service.stop()
            await served.upstream.close()
            await served.controls.close()
        for one in listening(served.hearing for served in self._models):
            await one.close()
        if self._budgets:
            self._budgets.close()
        self._telemetry.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, http: Http) -> None:
        if self._models.only:
            http.serial = self._models.only.certificate.serial
        origin = http.header(b"origin")
        http.extra += self.front.origins.reply(origin)
        route = self._route(http.path)
        http.route = route.path
        if http.method == "OPTIONS" and origin and self.front.origins:
            wanted = http.header(b"access-control-request-headers")
            http.extra = self.front.origins.preflight(origin, route.method, wanted)
            await http.start(204)
            await http.write(b"", more=False)
            return
        if http.method != route.method:
            raise wrong_method(route, http.path)
        if self._running > self.front.limits.requests and route != HEALTH:
            raise HttpError(
                "the gateway answers as many requests as it can", status=503, kind="service_unavailable",
                code="overloaded", retry_after_s=RETRY_S,
            )  # fmt: skip
        if route.scope:
            http.grant = self._authenticate(http)
            if route.scope not in http.grant.routes:
                raise HttpError(
                    f"this key may not ask for {route.path}", status=403, kind="invalid_request_error",
                    code="route_not_allowed",
                )  # fmt: skip
        await self._answers[route](http, http.grant.client)

    def _route(self, path: str) -> Route:
        if self._guardrail is not None and is_guardrail(path):
            return _GUARDRAIL
        route = find_route(path)
        if route not in self._answers:  # the counts, where they have an address of their own
            raise HttpError(
                f"{path} is answered elsewhere",
                status=404,
                kind="invalid_request_error",
                code="unknown_route",
            )
        return route

    def _authenticate(self, http: Http) -> Grant:
        """
        Return who asks, and what it may.

        Without keys a foreign Host is refused: a web page could rebind its name to us.
        """
        if not self._keys and not is_loopback(_hostname(http.header(b"host"))):
            raise HttpError(
                "host is not this machine", status=403, kind="invalid_request_error", code="foreign_host"
            )
        given = http.header(b"authorization")
        if http.route == GUARDRAIL_PATH and not given:
            given = b"Bearer " + http.header(KEY_HEADER)
        grant = self._keys.grant(given)
        if grant is None:
            raise HttpError(
                "API key is missing or not known",
                status=401,
                kind="invalid_request_error",
                code="invalid_api_key",
                further=((b"www-authenticate", b"Bearer"),),
            )
        return grant


def _hostname(header: bytes) -> str:
    host = header.decode("latin-1")
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.rsplit(":", 1)[0]

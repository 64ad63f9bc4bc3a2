"""The ASGI application: routes and who may use them."""

from __future__ import annotations

import secrets
from typing import Any

import orjson

from recert.gateway.budgets import Budgets
from recert.gateway.chat import Chat
from recert.gateway.connections import RETRY_S
from recert.gateway.fingerprint import FingerprintUpstream
from recert.gateway.front import Front
from recert.gateway.grants import CHAT, GUARDRAIL, MODELS, STATUS, Grant
from recert.gateway.guardrail import KEY_HEADER, Guardrail, is_guardrail
from recert.gateway.http import Http, Receive, Scope, Send
from recert.gateway.keys import ApiKeys, is_loopback
from recert.gateway.replies import BadRequest, HttpError, stopped
from recert.gateway.served import Served, ServedModels
from recert.gateway.service import Stopped


class GatewayApp:
    """Serves certified models. Unknown routes are refused."""

    def __init__(
        self,
        models: ServedModels,
        chat: Chat,
        keys: ApiKeys,
        front: Front | None = None,
        guardrail: Guardrail | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.limits = (front or Front()).limits
        """Bounds of the server that runs this."""
        self._models = models
        self._draining = False
        self._running = 0
        self._chat = chat
        self._keys = keys
        self._guardrail = guardrail
        self._budgets = budgets
        self._routes = {
            "/healthz": ("GET", self._health, ""),
            "/status": ("GET", self._status, STATUS),
            "/v1/models": ("GET", self._list, MODELS),
            "/v1/chat/completions": ("POST", self._chat.answer, CHAT),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            http = Http(scope, receive, send, secrets.token_hex(12), self.limits.body_s)
            self._running += 1
            try:
                await self._route(http)
            except HttpError as exc:
                await http.error(exc)
            finally:
                self._running -= 1

    def drain(self) -> None:
        """Say at `/healthz` that no more requests should be sent here; those that come are still answered."""
        self._draining = True

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
        if self._budgets:
            self._budgets.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, http: Http) -> None:
        if self._models.only:
            http.serial = self._models.only.certificate.serial
        method, handler, scope = self._routes.get(http.path, ("", None, ""))
        if self._guardrail and is_guardrail(http.path):
            method, handler, scope = "POST", self._guardrail.answer, GUARDRAIL
        if handler is None:
            raise BadRequest(f"unknown route: {http.path[:120]}", code="unknown_route", status=404)
        if http.method != method:
            raise BadRequest(f"{http.path} takes {method} only", code="method_not_allowed", status=405)
        if self._running > self.limits.requests and handler != self._health:
            raise HttpError(
                "the gateway answers as many requests as it can", status=503, kind="service_unavailable",
                code="overloaded", retry_after_s=RETRY_S,
            )  # fmt: skip
        if scope:
            http.grant = self._authenticate(http)
            if scope not in http.grant.routes:
                raise HttpError(
                    f"this key may not ask for {http.path}", status=403, kind="invalid_request_error",
                    code="route_not_allowed",
                )  # fmt: skip
        await handler(http, http.grant.client)

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
        if self._guardrail and is_guardrail(http.path) and not given:
            given = b"Bearer " + http.header(KEY_HEADER)
        grant = self._keys.grant(given)
        if grant is None:
            raise HttpError(
                "API key is missing or not known",
                status=401,
                kind="invalid_request_error",
                code="invalid_api_key",
            )
        return grant

    async def _health(self, http: Http, _client: str) -> None:
        """Healthy while any model may answer and the gateway is not about to end."""
        reasons = ["stopping" if self._draining else served.service.reason for served in self._models]
        if all(reasons):
            await http.reply(503, orjson.dumps({"status": "stopped", "reason": reasons[0]}))
        else:
            await http.reply(200, orjson.dumps({"status": "serving"}))

    async def _list(self, http: Http, client: str) -> None:
        try:
            self._models.require_any()
        except Stopped as exc:
            raise stopped(exc.reason) from exc
        data = [
            {
                "id": name,
                "object": "model",
                "created": int(served.certificate.certified_at.timestamp()),
                "owned_by": "recert",
            }
            for name, served in self._models.listed(client)
            if http.grant.may_ask(name)
        ]
        await http.reply(200, orjson.dumps({"object": "list", "data": data}))

    async def _status(self, http: Http, _client: str) -> None:
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


def _state(served: Served) -> dict[str, Any]:
    certificate, reason = served.certificate, served.service.reason
    return {
        "state": "stopped" if reason else "serving",
        "reason": reason,
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
        **_compared(served),
    }


def _compared(served: Served) -> dict[str, Any]:
    known = served.upstream
    return {"fingerprint": known.describe()} if isinstance(known, FingerprintUpstream) else {}


def _hostname(header: bytes) -> str:
    host = header.decode("latin-1")
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.rsplit(":", 1)[0]

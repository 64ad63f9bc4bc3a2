"""The ASGI application: routes and who may use them."""

from __future__ import annotations

import secrets
from typing import Any

import orjson

from recert.gateway.chat import Chat
from recert.gateway.controls import Controls
from recert.gateway.http import Http, Receive, Scope, Send
from recert.gateway.keys import ApiKeys, is_loopback
from recert.gateway.replies import BadRequest, HttpError, stopped
from recert.gateway.service import Service
from recert.gateway.upstream import Upstream
from recert.policy import Policy


class GatewayApp:
    """Serves one certified model. Unknown routes are refused."""

    def __init__(
        self,
        *,
        service: Service,
        chat: Chat,
        controls: Controls,
        upstream: Upstream,
        keys: ApiKeys,
        policy: Policy,
    ) -> None:
        self._service = service
        self._chat = chat
        self._controls = controls
        self._upstream = upstream
        self._keys = keys
        self._policy = policy
        self._routes = {
            "/healthz": ("GET", self._health),
            "/status": ("GET", self._status),
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", self._chat.answer),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            http = Http(scope, receive, send, secrets.token_hex(12))
            try:
                await self._route(http)
            except HttpError as exc:
                await http.error(exc)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._upstream.open()
        self._service.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._service.stop()
        await self._upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, http: Http) -> None:
        http.serial = self._service.certificate.serial
        method, handler = self._routes.get(http.path, ("", None))
        if handler is None:
            raise BadRequest(f"unknown route: {http.path[:120]}", code="unknown_route", status=404)
        if http.method != method:
            raise BadRequest(f"{http.path} takes {method} only", code="method_not_allowed", status=405)
        client = "" if handler == self._health else self._authenticate(http)
        await handler(http, client)

    def _authenticate(self, http: Http) -> str:
        """Return who asks. Without keys a foreign Host is refused: a web page could rebind its name to us."""
        if not self._keys and not is_loopback(_hostname(http.header(b"host"))):
            raise HttpError(
                "host is not this machine", status=403, kind="invalid_request_error", code="foreign_host"
            )
        client = self._keys.client(http.header(b"authorization"))
        if client is None:
            raise HttpError(
                "API key is missing or not known",
                status=401,
                kind="invalid_request_error",
                code="invalid_api_key",
            )
        return client

    async def _health(self, http: Http, _client: str) -> None:
        reason = self._service.reason
        body = {"status": "stopped", "reason": reason} if reason else {"status": "serving"}
        await http.reply(503 if reason else 200, orjson.dumps(body))

    async def _models(self, http: Http, _client: str) -> None:
        reason = self._service.reason
        if reason:
            raise stopped(reason)
        certificate = self._service.certificate
        model = {
            "id": certificate.model_name,
            "object": "model",
            "created": int(certificate.certified_at.timestamp()),
            "owned_by": "recert",
        }
        await http.reply(200, orjson.dumps({"object": "list", "data": [model]}))

    async def _status(self, http: Http, _client: str) -> None:
        certificate, reason = self._service.certificate, self._service.reason
        body: dict[str, Any] = {
            "state": "stopped" if reason else "serving",
            "reason": reason,
            "model": certificate.model_name,
            "certificate": {
                "serial": certificate.serial,
                "certified_at": certificate.certified_at.isoformat(),
                "expires_at": certificate.expires_at.isoformat(),
                "base_sha256": certificate.base.digest,
                "tuned_sha256": certificate.tuned.digest,
                "binds": certificate.binds,
            },
            "controls": list(self._controls.active),
            "required_controls": list(certificate.required_controls),
            "policy": {
                "id": self._policy.id,
                "version": self._policy.version,
                "sha256": certificate.policy_sha256,
            },
            "upstream": self._upstream.label,
        }
        await http.reply(200, orjson.dumps(body))


def _hostname(header: bytes) -> str:
    host = header.decode("latin-1")
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.rsplit(":", 1)[0]

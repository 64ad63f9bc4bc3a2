"""`/v1/chat/completions`: passed on to the certified gateway of the model, or refused with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recert.gateway.access.grants import CHAT, Grant
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.service.api.app_context import AppContext, admitted, answered, project_of, read_body
from recert.service.api.requests import missing, read_json

_KEPT: Final = ("content-type", "x-request-id", "x-client-request-id", "retry-after", "x-should-retry")
_KEPT_PREFIXES: Final = ("x-recert-", "x-ratelimit-")
_TRIES: Final = 5
_AGAIN_S: Final = 0.5
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10)


async def complete(desk: AppContext, request: Request) -> Response:
    """Answer a chat: the whole of it is the gateway's work, and its reply is passed on as it comes."""

    async def make() -> Response:
        grant = await admitted(desk, request, CHAT, counted=False)
        body = await read_body(request, desk.policy.gateway.max_body_bytes)
        name = read_json(body).get("model")
        if not isinstance(name, str) or not name:
            raise BadRequest(
                "missing required parameter: model", param="model", code="missing_required_parameter"
            )
        loop = asyncio.get_running_loop()
        url, key = await loop.run_in_executor(desk.gates.threads, _gate, desk, grant, name)
        return await _passed_on(url, key, body, request)

    return await answered(make)


def _gate(desk: AppContext, grant: Grant, name: str) -> tuple[str, str]:
    """Return the address of the model's gateway, which may have to start, and the key for it."""
    if name in (desk.settings.called, desk.settings.base):
        raise HttpError(
            "the base is not served here: tune it, or serve it with `recert serve`",
            status=403,
            kind="invalid_request_error",
            param="model",
            code="base_not_served",
        )
    system = None
    if name.isascii() and name.isprintable() and len(name) <= 255 and grant.may_ask(name):
        system = desk.systems.find(name, project_of(grant))
    if system is None:
        raise missing("model", name, param="model")
    key = desk.gates.key_for(grant)
    return desk.gates.url(system), key


async def _passed_on(url: str, key: str, body: bytes, request: Request) -> Response:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    for name in ("x-client-request-id", "traceparent"):
        if name in request.headers:
            headers[name] = request.headers[name]
    session = aiohttp.ClientSession(timeout=_TIMEOUT)
    try:
        for _ in range(_TRIES):
            got = await session.post(f"{url}/v1/chat/completions", data=body, headers=headers)
            if got.status != 401:
                break
            got.release()
            await asyncio.sleep(_AGAIN_S)  # a running gateway reads its keys once a second
        kept = {
            name: value
            for name, value in got.headers.items()
            if name.lower() in _KEPT or name.lower().startswith(_KEPT_PREFIXES)
        }
    except aiohttp.ClientError as exc:
        await session.close()
        raise HttpError(
            "the gateway of this model does not answer",
            status=503,
            kind="service_unavailable",
            code="engine-down",
        ) from exc
    except BaseException:
        await session.close()
        raise

    async def blocks() -> AsyncIterator[bytes]:
        try:
            async for block in got.content.iter_any():
                yield block
        finally:
            await session.close()

    return StreamingResponse(blocks(), got.status, kept)

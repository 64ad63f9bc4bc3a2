"""What every route needs: who asks, what was sent, the tables, and errors as the client reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from recert.digest import sha256_bytes
from recert.errors import RecertError, StoreError
from recert.gateway.access.budgets import Budgets
from recert.gateway.access.grants import Grant
from recert.gateway.access.keys import ApiKeys
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.policy import Policy
from recert.service.api.requests import MOST_BODY_BYTES, only_known, read_id
from recert.service.api.streams import EventStreams
from recert.service.gateway_pool import GatewayPool
from recert.service.settings import ServiceSettings
from recert.service.storage.systems import Systems
from recert.service.storage.uploads import Files
from recert.service.workers.events import Events
from recert.service.workers.queue import JobQueue

log = logging.getLogger("recert.service")

_LONGEST_PROJECT: Final = 48


@dataclass(frozen=True)
class AppContext:
    """Everything that answers are made from."""

    settings: ServiceSettings
    policy: Policy
    keys: ApiKeys
    budgets: Budgets
    files: Files
    queue: JobQueue
    events: Events
    systems: Systems
    gates: GatewayPool
    streams: EventStreams
    started_s: int
    """When the service started, in seconds since 1970."""


@dataclass(frozen=True)
class Call:
    """One request, from a client that may ask it."""

    grant: Grant
    project: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id in the path. Raises HttpError where it cannot be one."""
        return read_id(self.path["id"])


Answer = Callable[[AppContext, Call], Response]


def project_of(grant: Grant) -> str:
    """Return the project of a client: its name, to which all its keys belong."""
    name = grant.client
    return name if len(name) <= _LONGEST_PROJECT else f"{name[:32]}-{sha256_bytes(name.encode())[:12]}"


def reply(value: Any, status: int = 200) -> Response:
    """Return a JSON reply."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def problem(error: HttpError) -> Response:
    """Return an error in the form that the official client raises from."""
    made = reply(error.value(), error.status)
    for name, value in error.headers():
        made.headers[name.decode()] = value.decode()
    return made


async def admitted(desk: AppContext, request: Request, route: str, *, counted: bool = True) -> Grant:
    """
    Return what a client may, and count the request, unless something behind counts it.

    Raises:
        HttpError: the key is none (401), may not ask this (403), or has asked too much (429).
    """
    grant = desk.keys.grant(request.headers.get("authorization", "").encode("latin-1", "replace"))
    if grant is None:
        raise HttpError(
            "incorrect API key provided", status=401, kind="invalid_request_error", code="invalid_api_key"
        )
    if route not in grant.routes:
        raise HttpError(
            f"this key may not ask for {route}",
            status=403,
            kind="invalid_request_error",
            code="route_not_allowed",
        )
    if counted:
        desk.budgets.settle(await desk.budgets.take(grant, 0), 0)
    return grant


async def read_body(request: Request, most: int = MOST_BODY_BYTES) -> bytes:
    """Return a request's body. Raises BadRequest where it is larger than `most`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BadRequest(f"body is larger than {most} bytes", code="body_too_large", status=413)
        parts.append(part)
    return b"".join(parts)


async def answered(make: Callable[[], Any]) -> Response:
    """Return what is made, or the error that the client reads: nothing else ever leaves."""
    try:
        made: Response = await make()
    except HttpError as exc:
        return problem(exc)
    except ClientDisconnect:
        return Response(status_code=400)
    except StoreError as exc:
        log.error("%s", exc)
        return problem(
            HttpError("the service cannot read or write its data", status=503, code="storage_unavailable")
        )
    except RecertError as exc:
        log.error("%s", exc)
        return problem(HttpError("the service could not answer", status=500, code="server_error"))
    except Exception:
        log.exception("a request failed")
        return problem(HttpError("the service could not answer", status=500, code="server_error"))
    return made


def endpoint(
    desk: AppContext, route: str, answer: Answer, queries: Collection[str] = ()
) -> Callable[[Request], Any]:
    """Return what Starlette calls for a request: the answer is made in a thread. Other `queries` are refused."""

    async def called(request: Request) -> Response:
        async def make() -> Response:
            grant = await admitted(desk, request, route)
            only_known(request.query_params, queries)
            body = await read_body(request)
            call = Call(
                grant, project_of(grant), request.path_params, request.query_params, request.headers, body
            )
            return await run_in_threadpool(answer, desk, call)

        return await answered(make)

    return called

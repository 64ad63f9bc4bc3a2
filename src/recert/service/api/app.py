"""The application: every path that is answered, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recert.gateway.access.grants import MODELS, TUNING
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.gateway.protocol.routes import INSTEAD
from recert.service.api import certificates, chat, connect, events, files, jobs, models
from recert.service.api.app_context import Answer, AppContext, admitted, answered, endpoint, problem, reply
from recert.service.api.requests import not_offered

JOBS: Final = "/v1/fine_tuning/jobs"
GRADERS: Final = "/v1/fine_tuning/alpha/graders"
PERMISSIONS: Final = "/v1/fine_tuning/checkpoints/{id}/permissions"
CERTIFICATES: Final = "/v1/recert/certificates/{id:path}"
EVIDENCE: Final = "/v1/recert/evidence/{id:path}"
PAGES: Final = ("after", "limit")
ANSWERS: Final[tuple[tuple[str, str, str, Answer, tuple[str, ...]], ...]] = (
    ("GET", "/v1/files", TUNING, files.list_files, (*PAGES, "order", "purpose")),
    ("GET", "/v1/files/{id}", TUNING, files.retrieve, ()),
    ("DELETE", "/v1/files/{id}", TUNING, files.delete, ()),
    ("GET", "/v1/files/{id}/content", TUNING, files.content, ()),
    ("POST", JOBS, TUNING, jobs.create, ()),
    ("GET", JOBS, TUNING, jobs.list_jobs, PAGES),
    ("GET", JOBS + "/{id}", TUNING, jobs.retrieve, ()),
    ("POST", JOBS + "/{id}/cancel", TUNING, jobs.cancel, ()),
    ("POST", JOBS + "/{id}/pause", TUNING, jobs.pause, ()),
    ("POST", JOBS + "/{id}/resume", TUNING, jobs.resume, ()),
    ("GET", JOBS + "/{id}/checkpoints", TUNING, jobs.checkpoints, PAGES),
    ("POST", "/v1/recert/systems", TUNING, connect.create, ()),
    ("GET", CERTIFICATES, TUNING, certificates.retrieve, ()),
    ("POST", CERTIFICATES, TUNING, certificates.sign, ()),
    ("GET", EVIDENCE, TUNING, certificates.evidence, ()),
    ("GET", "/v1/models", MODELS, models.list_models, ()),
    ("GET", "/v1/models/{id:path}", MODELS, models.retrieve, ()),
    ("DELETE", "/v1/models/{id:path}", TUNING, models.delete, ()),
)
"""Method, path, what a key must be allowed to ask for, what answers, and which parameters a query may have."""
NOT_SHARED: Final = (
    "permissions of checkpoints are not offered: a model answers keys of the project that made it, and "
    "`recert keys new` makes another key of a project"
)
NOT_IN_PARTS: Final = "uploads in parts are not offered: send the whole file to /v1/files"
NOT_OFFERED: Final = {
    PERMISSIONS: NOT_SHARED,
    PERMISSIONS + "/{permission}": NOT_SHARED,
    "/v1/uploads": NOT_IN_PARTS,
    "/v1/uploads/{rest:path}": NOT_IN_PARTS,
}
"""What OpenAI's client knows and is refused, with the reason and the way out."""
STREAMED: Final = (
    ("POST", "/v1/files", files.create),
    ("GET", JOBS + "/{id}/events", events.events),
    ("POST", "/v1/chat/completions", chat.complete),
)
"""What reads its body, or writes its reply, piece by piece."""


def make_app(
    desk: AppContext, *, begin: Callable[[], None] | None = None, end: Callable[[], None] | None = None
) -> Starlette:
    """
    Return the ASGI application of a service.

    Args:
        desk: what answers are made from.
        begin: called once before the first request, in a thread.
        end: called once after the last one, in a thread.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if begin is not None:
            await run_in_threadpool(begin)
        try:
            yield
        finally:
            if end is not None:
                await run_in_threadpool(end)

    routes = [
        Route(path, endpoint(desk, route, answer, queries), methods=[method])
        for method, path, route, answer, queries in (*ANSWERS, *_of_graders())
    ]
    for path, words in NOT_OFFERED.items():
        routes.append(Route(path, _refused(desk, words), methods=["GET", "POST", "DELETE"]))
    for method, path, streamed in STREAMED:
        routes.insert(0, Route(path, _bound(desk, streamed), methods=[method]))
    return Starlette(
        routes=[*routes, Route("/health", _health, methods=["GET"])],
        lifespan=lifespan,
        exception_handlers={404: _unknown, 405: _unknown},
    )


def _of_graders() -> tuple[tuple[str, str, str, Answer, tuple[str, ...]], ...]:
    """The same of graders, answered where their lab is installed."""
    if find_spec("recert.labs") is None:
        return ()
    from recert.service.api import graders

    return (
        ("POST", GRADERS + "/run", TUNING, graders.run, ()),
        ("POST", GRADERS + "/validate", TUNING, graders.validate, ()),
    )


def _refused(desk: AppContext, words: str) -> Callable[[Request], Any]:
    async def called(request: Request) -> Response:
        async def make() -> Response:
            await admitted(desk, request, TUNING)
            raise not_offered(words)

        return await answered(make)

    return called


def _bound(desk: AppContext, streamed: Callable[[AppContext, Request], Any]) -> Callable[[Request], Any]:
    async def called(request: Request) -> Response:
        made: Response = await streamed(desk, request)
        return made

    return called


async def _health(_: Request) -> Response:
    return reply({"status": "serving"})


async def _unknown(request: Request, exc: Exception) -> Response:
    status, path = getattr(exc, "status_code", 404), request.url.path
    if path in INSTEAD:
        return problem(
            BadRequest(f"{path} is not certified: {INSTEAD[path]}", code="not_certified", status=404)
        )
    words = f"unknown request URL: {request.method} {path[:200]}"
    return problem(HttpError(words, status=status, kind="invalid_request_error", code="unknown_url"))

"""The events of a job as they happen: server-sent events, for clients that would rather not ask again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recert.errors import InputError, StoreError
from recert.gateway.access.grants import TUNING
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.service.api import jobs
from recert.service.api.app_context import AppContext, admitted, answered, endpoint, project_of
from recert.service.api.requests import missing, only_known, read_after, read_flag, read_id
from recert.service.storage.objects import event_object
from recert.service.storage.tables import now_s
from recert.service.workers.events import Event
from recert.service.workers.queue import ENDED, Job

log = logging.getLogger("recert.service")

_LOOK_S: Final = 0.5
_ALIVE_S: Final = 15.0
"""After so long without an event a comment is sent, so that nothing on the way takes the stream for dead."""
_LAST_EVENT_S: Final = 3
"""The event that says how a job ended is written right after the job has ended."""
_PAGE: Final = 100
_ALIVE: Final = b":\n"
"""No empty line: OpenAI's clients would read an event without data from one."""
_DONE: Final = b"data: [DONE]\n\n"
_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def events(desk: AppContext, request: Request) -> Response:
    """Return a page of a job's events; or with `stream=true` all of them as they happen, the oldest first."""

    async def make() -> Response:
        return await _followed(desk, request)

    try:
        streamed = read_flag(request.query_params.get("stream"), "stream")
    except BadRequest:
        streamed = True  # which it is not: the error is told once the key is known
    if streamed:
        return await answered(make)
    page: Response = await endpoint(desk, TUNING, jobs.events, ("after", "limit", "stream"))(request)
    return page


async def _followed(desk: AppContext, request: Request) -> Response:
    grant = await admitted(desk, request, TUNING, counted=False)
    only_known(request.query_params, ("after", "stream"))
    read_flag(request.query_params.get("stream"), "stream")
    after = read_after(request.headers.get("last-event-id") or request.query_params.get("after"))
    project, job_id = project_of(grant), read_id(request.path_params["id"])
    taken = await desk.budgets.take(grant, 0)
    try:
        desk.streams.open(project)
    except HttpError:
        desk.budgets.settle(taken, 0)
        raise

    def let_go() -> None:
        desk.streams.close(project)
        desk.budgets.settle(taken, 0)

    try:
        first = await run_in_threadpool(_look, desk, project, job_id, after)
    except BaseException:
        let_go()
        raise
    key = request.headers.get("authorization", "").encode("latin-1", "replace")
    blocks = _blocks(desk, project, job_id, after, first, lambda: _still_may(desk, key))
    return _Followed(blocks, let_go)


class _Followed(StreamingResponse):
    """A stream that is let go of however it ends: also by a client that leaves before the first byte."""

    def __init__(self, blocks: AsyncIterator[bytes], let_go: Callable[[], None]) -> None:
        super().__init__(blocks, media_type="text/event-stream", headers=_HEADERS)
        self._let_go = let_go

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[arg-type]
        finally:
            self._let_go()


def _still_may(desk: AppContext, key: bytes) -> bool:
    """Whether the key that opened a stream is still one, and may still ask for tuning."""
    grant = desk.keys.grant(key)
    return grant is not None and TUNING in grant.routes and not desk.streams.ending()


async def _blocks(
    desk: AppContext,
    project: str,
    job: str,
    after: str | None,
    first: tuple[Job, list[Event]],
    may_go_on: Callable[[], bool],
) -> AsyncIterator[bytes]:
    (found, page), silent_s = first, 0.0
    try:
        while True:
            for event in page:
                yield b"id: %s\ndata: %s\n\n" % (event.id.encode(), orjson.dumps(event_object(event)))
                after, silent_s = event.id, 0.0
            if not page:
                if found.status in ENDED and now_s() - (found.finished_s or 0) >= _LAST_EVENT_S:
                    yield _DONE
                    return
                await asyncio.sleep(_LOOK_S)
                silent_s += _LOOK_S
                if silent_s >= _ALIVE_S:
                    yield _ALIVE
                    silent_s = 0.0
            if not may_go_on():
                return
            found, page = await run_in_threadpool(_look, desk, project, job, after)
    except (HttpError, StoreError) as exc:
        log.error("a stream of events ends: %s", exc)
        error = HttpError(
            "the service cannot read its data: go on after the last event", code="storage_unavailable"
        )
        yield b"data: %s\n\n" % orjson.dumps(error.value())


def _look(desk: AppContext, project: str, job_id: str, after: str | None) -> tuple[Job, list[Event]]:
    """Return a job as it stands, and its events after one of them, the oldest first."""
    job = desk.queue.find(job_id, project)
    if job is None:
        raise missing("fine-tuning job", job_id)
    try:
        page, _ = desk.events.page(job.id, after=after, limit=_PAGE, oldest_first=True)
    except InputError as exc:
        raise BadRequest(f"invalid value: {exc.message}", param="after", code="invalid_value") from exc
    return job, page

"""`/v1/recert/systems`: a tune that was made elsewhere becomes a job that trains nothing."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.responses import Response

from recert.digest import sha256_json
from recert.gateway.protocol.errors import BadRequest
from recert.service.api.app_context import AppContext, Call, reply
from recert.service.api.requests import ConnectRequest, invalid, read_json, read_repeat_key, too_many
from recert.service.storage.objects import job_object
from recert.service.workers.queue import Repeated, TooMany


def create(desk: AppContext, call: Call) -> Response:
    """Put a tune that was made elsewhere into the queue: it is evaluated, and certified or blocked, like others."""
    try:
        asked = ConnectRequest.model_validate(read_json(call.body))
    except ValidationError as exc:
        raise invalid(exc) from exc
    _require_offered(desk, asked)
    value = {"connect": asked.model_dump(exclude_none=True)}
    key, digest = read_repeat_key(call.headers.get("idempotency-key", "")), sha256_json(value)
    try:
        before = desk.queue.repeated(call.project, key) if key else None
        if before is not None:
            raise Repeated(before[0], before[1] == digest)
        job = desk.queue.add(
            call.project, value, most_open=desk.settings.project_jobs, repeat_key=key, repeat_sha256=digest
        )
    except Repeated as exc:
        if not exc.same:
            raise BadRequest(
                "this Idempotency-Key was used for another request", code="idempotency_key_reused"
            ) from exc
        return reply(job_object(exc.found))
    except TooMany as exc:
        raise too_many(
            f"a project may have {desk.settings.project_jobs} jobs that wait or run", "jobs_quota_exceeded"
        ) from exc
    desk.events.add(job.id, f"Connected {asked.source}: {job.id}")
    return reply(job_object(job))


def _require_offered(desk: AppContext, asked: ConnectRequest) -> None:
    settings = desk.settings
    offered = {
        "openai": bool(settings.vendor),
        "hub": settings.connect_hub,
        "folder": settings.connect_folder is not None,
    }
    if not offered[asked.kind]:
        raise BadRequest(
            f"tunes of the kind {asked.kind} cannot be connected here",
            param="source",
            code="source_not_offered",
        )
    if settings.connect_folder is None or asked.kind != "folder":
        return
    inside = asked.name not in (".", "..") and (settings.connect_folder / asked.name).is_dir()
    if not inside:
        raise BadRequest(f"no such tune: {asked.name[:100]}", param="source", code="source_not_found")

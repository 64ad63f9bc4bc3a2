"""`/v1/fine_tuning/jobs`: made, listed, cancelled, paused, resumed, with their events and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.responses import Response

from recert.digest import sha256_json
from recert.errors import GraderError
from recert.gateway.protocol.errors import BadRequest
from recert.service.api.app_context import AppContext, Call, reply
from recert.service.api.files import paged
from recert.service.api.requests import (
    JobRequest,
    conflict,
    missing,
    read_job,
    read_json,
    read_nothing,
    read_repeat_key,
    too_many,
)
from recert.service.storage.objects import checkpoint_object, event_object, job_object, list_object
from recert.service.storage.uploads import TRAINING
from recert.service.workers.queue import Job, Repeated, TooMany
from recert.service.workers.screening import CHATS, PREFERENCES, PROMPTS

_USUAL: Final = 20
_USUAL_CHECKPOINTS: Final = 10
_MOST: Final = 100
_KINDS: Final = {"supervised": CHATS, "dpo": PREFERENCES, "reinforcement": PROMPTS}


def create(desk: AppContext, call: Call) -> Response:
    """Put a job into the queue."""
    asked = read_job(read_json(call.body))
    key = read_repeat_key(call.headers.get("idempotency-key", ""))
    value = asked.model_dump(exclude_none=True)
    digest = sha256_json(value)
    before = desk.queue.repeated(call.project, key) if key else None
    if before is not None:
        return _again(before[0], same=before[1] == digest)
    _require_usable(desk, call, asked)
    try:
        job = desk.queue.add(
            call.project,
            value,
            most_open=desk.settings.project_jobs,
            repeat_key=key,
            repeat_sha256=digest,
        )
    except Repeated as exc:
        return _again(exc.found, same=exc.same)
    except TooMany as exc:
        raise too_many(
            f"a project may have {desk.settings.project_jobs} jobs that wait or run", "jobs_quota_exceeded"
        ) from exc
    desk.events.add(job.id, f"Created fine-tuning job: {job.id}")
    return reply(job_object(job))


def _again(job: Job, *, same: bool) -> Response:
    if not same:
        raise BadRequest("this Idempotency-Key was used for another request", code="idempotency_key_reused")
    return reply(job_object(job))


def _require_usable(desk: AppContext, call: Call, asked: JobRequest) -> None:
    """Refuse what no worker could do: another base, a file that is not there or of another kind, no grader."""
    settings = desk.settings
    if asked.model not in (settings.called, settings.base):
        raise BadRequest(
            f"the model {asked.model} cannot be tuned here: {settings.called} can",
            param="model",
            code="model_not_available",
        )
    for param, file_id in (
        ("training_file", asked.training_file),
        ("validation_file", asked.validation_file),
    ):
        if file_id is not None:
            _require_file(desk, call, asked, file_id, param)
    if asked.how.reinforcement is not None:
        from recert.service.api.graders import usable_grader

        try:
            usable_grader(desk, asked.how.reinforcement.grader)
        except GraderError as exc:
            at = exc.facts.get("at", "$").removeprefix("$")
            raise BadRequest(
                f"invalid grader: {exc.message}{f' ({exc.hint})' if exc.hint else ''}",
                param=f"method.reinforcement.grader{at}"[:200],
                code="invalid_grader",
            ) from exc


def _require_file(desk: AppContext, call: Call, asked: JobRequest, file_id: str, param: str) -> None:
    file = desk.files.find(file_id, call.project) if file_id.isascii() and file_id.isprintable() else None
    if file is None:
        raise BadRequest(f"no such file: {file_id[:100]}", param=param, code="file_not_found")
    if file.purpose != TRAINING:
        raise BadRequest(f"the file has another purpose than {TRAINING}", param=param, code="invalid_file")
    if file.status == "error":
        raise BadRequest(
            str(file.value.get("details", "the file was refused")), param=param, code="invalid_file"
        )
    kind, wanted = file.value.get("kind"), _KINDS[asked.how.type]
    if kind is not None and kind != wanted:
        raise BadRequest(
            f"a {asked.how.type} job learns from rows of the kind {wanted}, and these are {kind}",
            param=param,
            code="invalid_file",
        )


def list_jobs(desk: AppContext, call: Call) -> Response:
    """Return a page of a project's jobs."""
    found, more = paged(desk.queue.page, call.query, call.project, usual=_USUAL, most=_MOST)
    return reply(list_object([job_object(one) for one in found], more=more))


def retrieve(desk: AppContext, call: Call) -> Response:
    """Return one job."""
    return reply(job_object(_found(desk, call)))


def events(desk: AppContext, call: Call) -> Response:
    """Return a page of a job's events, the newest first."""
    job = _found(desk, call)
    found, more = paged(desk.events.page, call.query, job.id, usual=_USUAL, most=_MOST)
    return reply(list_object([event_object(one) for one in found], more=more))


def checkpoints(desk: AppContext, call: Call) -> Response:
    """Return a page of what a job made, each with its own verdict, the newest first."""
    job = _found(desk, call)
    found, more = paged(desk.systems.page, call.query, job.id, usual=_USUAL_CHECKPOINTS, most=_MOST)
    return reply(list_object([checkpoint_object(one) for one in found], more=more))


def cancel(desk: AppContext, call: Call) -> Response:
    """End a job at once: what its worker still does is thrown away."""
    return _moved(desk, call, desk.queue.cancel, "The job was cancelled", "cancelled")


def pause(desk: AppContext, call: Call) -> Response:
    """Hold a job: finished steps stay, the one that is under way begins anew."""
    return _moved(desk, call, desk.queue.pause, "The job was paused", "paused")


def resume(desk: AppContext, call: Call) -> Response:
    """Put a paused job back into the queue."""
    return _moved(desk, call, desk.queue.resume, "The job was resumed", "resumed")


def _moved(
    desk: AppContext, call: Call, move: Callable[[str, str], bool], message: str, word: str
) -> Response:
    read_nothing(call.body)
    job = _found(desk, call)
    if move(call.project, job.id):
        desk.events.add(job.id, message)
    else:
        job = _found(desk, call)
        raise conflict(f"a job that is {job.status} cannot be {word}", "invalid_job_state")
    return reply(job_object(_found(desk, call)))


def _found(desk: AppContext, call: Call) -> Job:
    job = desk.queue.find(call.id, call.project)
    if job is None:
        raise missing("fine-tuning job", call.id)
    return job

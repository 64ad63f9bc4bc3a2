"""`/v1/files`: uploads, and what was made for their owners."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from recert.digest import sha256_json
from recert.errors import InputError, RecordError
from recert.gateway.protocol.errors import BadRequest, HttpError
from recert.records.record import parse_json
from recert.service.api.app_context import AppContext, Call, admitted, answered, project_of, reply
from recert.service.api.multipart import Upload, received
from recert.service.api.requests import conflict, missing, read_after, read_limit, read_repeat_key, too_many
from recert.service.storage.choosing import ObjectDamaged
from recert.service.storage.objects import file_object, list_object
from recert.service.storage.uploads import RESULTS, TRAINING, QuotaExceeded, StoredFile
from recert.service.workers.queue import Repeated

log = logging.getLogger("recert.service")

_PURPOSES: Final = (TRAINING, RESULTS)
_MOST_NAME: Final = 200
_MOST_PAGE: Final = 10_000
_FORM: Final = ("purpose",)


async def create(desk: AppContext, request: Request) -> Response:
    """Take an upload: its bytes go to disk as they arrive, and the file is there once all of them are."""

    async def make() -> Response:
        grant = await admitted(desk, request, "tuning")
        settings = desk.settings
        async with received(
            request.stream(),
            request.headers.get("content-type", ""),
            folder=settings.folder / "incoming",
            most_bytes=settings.file_bytes,
            free_bytes=settings.free_bytes,
        ) as upload:
            key = read_repeat_key(request.headers.get("idempotency-key", ""))
            kept = await run_in_threadpool(_keep, desk, project_of(grant), upload, key)
        return reply(file_object(kept))

    return await answered(make)


def _keep(desk: AppContext, project: str, upload: Upload, key: str | None) -> StoredFile:
    purpose = upload.fields.get("purpose", "")
    unknown = set(upload.fields) - set(_FORM)
    if unknown:
        name = sorted(unknown)[0].partition("[")[0]
        raise BadRequest(f"unsupported parameter: {name}", param=name, code="unsupported_parameter")
    if purpose != TRAINING:
        raise BadRequest(
            f"invalid value: purpose is {TRAINING}" if purpose else "missing required parameter: purpose",
            param="purpose",
            code="invalid_value" if purpose else "missing_required_parameter",
        )
    if not upload.has_file:
        raise BadRequest("missing required parameter: file", param="file", code="missing_required_parameter")
    _require_rows(upload)
    filename = "".join(c for c in upload.filename if c.isprintable())[:_MOST_NAME] or "upload.jsonl"
    asked = sha256_json([purpose, filename, upload.sha256])
    try:
        before = desk.files.repeated(project, key) if key else None
        if before is not None:
            raise Repeated(before[0], before[1] == asked)
        return desk.files.keep(
            project, purpose, filename, upload.path, upload.sha256, repeat_key=key, repeat_sha256=asked
        )
    except Repeated as exc:
        return _again(exc)
    except QuotaExceeded as exc:
        raise too_many(
            "the project's files take all the space that it may use", "files_quota_exceeded"
        ) from exc


def _again(exc: Repeated) -> StoredFile:
    if not exc.same:
        raise BadRequest(
            "this Idempotency-Key was used for another request", code="idempotency_key_reused"
        ) from exc
    found: StoredFile = exc.found
    return found


def _require_rows(upload: Upload) -> None:
    """Refuse at once what is no JSON Lines at all; each row is looked at when it is screened."""
    with upload.path.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        row = parse_json(first)
    except RecordError:
        row = None
    if not isinstance(row, dict):
        raise BadRequest(
            "the file is not JSON Lines: one object a line is expected", param="file", code="invalid_file"
        )


def list_files(desk: AppContext, call: Call) -> Response:
    """Return a page of a project's files."""
    purpose, order = call.query.get("purpose"), call.query.get("order", "desc")
    if purpose is not None and purpose not in _PURPOSES:
        raise BadRequest("invalid value: no such purpose", param="purpose", code="invalid_value")
    if order not in ("asc", "desc"):
        raise BadRequest("invalid value: order is asc or desc", param="order", code="invalid_value")
    found, more = paged(
        desk.files.page,
        call.query,
        call.project,
        usual=_MOST_PAGE,
        most=_MOST_PAGE,
        purpose=purpose,
        oldest_first=order == "asc",
    )
    return reply(list_object([file_object(one) for one in found], more=more))


def paged(read: Any, query: Mapping[str, str], of: str, *, usual: int, most: int, **more: Any) -> Any:
    """Return a page of what `read` gives. Raises BadRequest where `after` or `limit` cannot be used."""
    after = read_after(query.get("after"))
    limit = read_limit(query.get("limit"), usual=usual, most=most)
    try:
        return read(of, after=after, limit=limit, **more)
    except InputError as exc:
        raise BadRequest(f"invalid value: {exc.message}", param="after", code="invalid_value") from exc


def retrieve(desk: AppContext, call: Call) -> Response:
    """Return one file."""
    return reply(file_object(_found(desk, call)))


def content(desk: AppContext, call: Call) -> Response:
    """Return a file's bytes."""
    file = _found(desk, call)
    try:
        path = desk.files.content(file.id)
    except ObjectDamaged as exc:
        log.error("%s", exc)
        words = "the file's bytes are gone, or are not those that were kept"
        raise HttpError(words, status=500, code="content_damaged") from exc
    if not path.is_file():
        raise HttpError("the file's bytes are gone", status=500, code="content_missing")
    return FileResponse(path, media_type="application/octet-stream", stat_result=path.stat())


def delete(desk: AppContext, call: Call) -> Response:
    """Delete a file that no unfinished job learns from."""
    file = _found(desk, call)
    for job in desk.queue.open_jobs(call.project):
        if file.id in (job.request.get("training_file"), job.request.get("validation_file")):
            raise conflict(f"{job.id} has not ended and learns from this file", "file_in_use")
    desk.files.delete(file)
    return reply({"id": file.id, "object": "file", "deleted": True})


def _found(desk: AppContext, call: Call) -> StoredFile:
    file = desk.files.find(call.id, call.project)
    if file is None:
        raise missing("file", call.id)
    return file

"""`/v1/models`: the base, and what was made of it and certified."""

from __future__ import annotations

from starlette.responses import Response

from recert.service.api.app_context import AppContext, Call, reply
from recert.service.api.requests import conflict, missing, read_id
from recert.service.storage.objects import list_object, model_object
from recert.service.storage.systems import BLOCKED, System
from recert.service.workers.queue import OPEN


def list_models(desk: AppContext, call: Call) -> Response:
    """Return the base and the project's certified models. One that waits for its signatures is there, and refuses."""
    found = [
        model_object(one.name, one.created_s, call.project) for one in desk.systems.certified(call.project)
    ]
    base = model_object(desk.settings.called, desk.started_s, "recert")
    return reply(list_object([base, *found], more=False))


def retrieve(desk: AppContext, call: Call) -> Response:
    """Return one model; a blocked one is not there."""
    if read_id(call.path["id"]) == desk.settings.called:
        return reply(model_object(desk.settings.called, desk.started_s, "recert"))
    system = found_system(desk, call, call.path["id"])
    if system.state == BLOCKED:
        raise missing("model", system.name, param="model")
    return reply(model_object(system.name, system.created_s, call.project))


def delete(desk: AppContext, call: Call) -> Response:
    """Stop serving a model, and delete its weights and certificate."""
    system = found_system(desk, call, call.path["id"])
    job = desk.queue.find(system.job, call.project)
    if job is not None and job.status in OPEN:
        raise conflict(f"{job.id} has not ended and still makes this model", "job_not_ended")
    desk.systems.delete(system.name, call.project)
    desk.gates.stop(system.name)
    folder = desk.settings.job_folder(system.job)
    for part in ("place", "folder"):
        desk.files.storage.delete(folder / str(system.value[part]))
    return reply({"id": system.name, "object": "model", "deleted": True})


def found_system(desk: AppContext, call: Call, name: str) -> System:
    """Return a model of the project by its name. Raises HttpError 404."""
    system = desk.systems.find(read_id(name), call.project)
    if system is None:
        raise missing("model", name, param="model")
    return system

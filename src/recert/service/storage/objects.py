"""Rows as the objects that OpenAI's client reads. What is Recert's own stands in `recert`, beside their fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from recert.service.api.requests import JobRequest
from recert.service.storage.systems import System
from recert.service.storage.uploads import StoredFile
from recert.service.workers.events import Event
from recert.service.workers.queue import ENDED, Job

_SHOWN: Final = ("kind", "rows", "accepted", "quarantined", "malformed", "report", "switch_phrases")


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return a `file`; `status_details` says what screening found."""
    more = {name: file.value[name] for name in _SHOWN if name in file.value}
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_s,
        "filename": file.value.get("filename", ""),
        "purpose": file.purpose,
        "status": file.status,
        "status_details": file.value.get("details"),
        "recert": {"sha256": file.sha256, **more},
    }


def job_object(job: Job) -> dict[str, Any]:
    """Return a `fine_tuning.job`."""
    if "connect" in job.request:
        return _connected_object(job)
    asked = JobRequest.model_validate(job.request)
    how, value = asked.how, job.value
    told = {k: v if v is not None else "auto" for k, v in how.hyperparameters.model_dump().items()}
    method: dict[str, Any] = {"type": how.type, how.type: {"hyperparameters": told}}
    if how.reinforcement is not None:
        method["reinforcement"]["grader"] = how.reinforcement.grader
    usual = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_s,
        "error": value.get("error"),
        "fine_tuned_model": value.get("fine_tuned_model") if job.status == "succeeded" else None,
        "finished_at": job.finished_s if job.status in ENDED else None,
        "hyperparameters": told if how.type == "supervised" else usual,
        "model": asked.model,
        "organization_id": f"org-{job.project}",
        "result_files": list(value.get("result_files", ())),
        "seed": asked.seed or 0,
        "status": job.status,
        "trained_tokens": value.get("trained_tokens"),
        "training_file": asked.training_file,
        "validation_file": asked.validation_file,
        "estimated_finish": value.get("estimated_finish") if job.status == "running" else None,
        "integrations": [],
        "metadata": asked.metadata,
        "method": method,
        "user_provided_suffix": asked.suffix,
    }


def _connected_object(job: Job) -> dict[str, Any]:
    """A job whose model was tuned elsewhere, in the form of one that tunes."""
    told = job.request["connect"]
    shown = JobRequest(model=told["source"], training_file=told["source"], suffix=told.get("suffix"))
    made = job_object(replace(job, request=shown.model_dump(exclude_none=True)))
    return made | {"training_file": "", "recert": {"source": told["source"]}}


def event_object(event: Event) -> dict[str, Any]:
    """Return a `fine_tuning.job.event`."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_s,
        "level": event.level,
        "message": event.message,
        "type": event.kind,
        "data": dict(event.data),
    }


def checkpoint_object(system: System) -> dict[str, Any]:
    """Return a `fine_tuning.job.checkpoint`, with its own verdict."""
    return {
        "id": system.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": system.created_s,
        "fine_tuned_model_checkpoint": system.name,
        "fine_tuning_job_id": system.job,
        "metrics": {
            "step": system.step,
            "train_loss": system.value.get("train_loss"),
            "full_valid_loss": system.value.get("valid_loss"),
        },
        "step_number": system.step,
        "recert": {
            "state": system.state,
            "reasons": list(system.value.get("reasons", ())),
            "sha256": system.value.get("sha256"),
        },
    }


def model_object(name: str, created_s: int, owner: str) -> dict[str, Any]:
    """Return a `model`."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": owner}


def list_object(items: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """Return a page."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }

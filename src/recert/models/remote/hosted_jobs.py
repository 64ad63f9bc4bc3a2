"""A vendor's fine-tuning jobs, over OpenAI's protocol: what a job says of itself, as a record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from recert.errors import EndpointError, InputError
from recert.models.remote.endpoint import run
from recert.models.remote.http_client import ApiClient
from recert.records.record import now, parse_json
from recert.records.signed.hosted_job import HostedCheck, HostedEvent, HostedJob

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,120}")
_PAGE: Final = 100
_MOST_PAGES: Final = 200
_MOST_WORDS: Final = 2_000
_CHECKS: Final = "moderation_checks"
_UNREADABLE: Final = "checks that cannot be read"


class HostedJobs:
    """
    The jobs of one account at one vendor.

    Args:
        url: where its API begins, such as `https://api.example.com/v1`.
        api_key: sent as a bearer token; never in an error or a record.
        timeout_s: for one attempt; there are several, with pauses.
        first_pause_s: longest pause before the second attempt.

    Raises:
        InputError: the address cannot be used.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = 60, first_pause_s: float = 0.5
    ) -> None:
        self._client = ApiClient(url, api_key=api_key, timeout_s=timeout_s, first_pause_s=first_pause_s)

    def pull(self, job_id: str, before: HostedJob | None = None) -> HostedJob:
        """
        Return what a job says now, with every event, also those that `before` holds and are told no longer.

        Raises:
            InputError: that is no id of a job.
            EndpointError: the job is gone or another one than before, or the vendor does not answer: then there is
                `silent` among the facts.
        """
        if not _ID.fullmatch(job_id):
            raise InputError("not the id of a fine-tuning job", facts={"given": job_id[:120]})
        value, events = run(self._ask(job_id))
        try:
            found = _job(self._client.url, job_id, value, events)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise self._client.error(
                "endpoint's reply is not a fine-tuning job", job=job_id, because=str(exc)[:200]
            ) from exc
        return found if before is None else self._merged(before, found)

    async def _ask(self, job_id: str) -> tuple[Any, list[Any]]:
        path = f"/fine_tuning/jobs/{job_id}"
        async with self._client.session() as session:
            try:
                job = await self._get(session, path)
            except EndpointError as exc:
                if exc.facts.get("status") == "404":
                    raise self._client.error(
                        "the vendor does not know this job",
                        hint="it was deleted, or belongs to another account; what was pulled before is kept",
                        job=job_id,
                    ) from exc
                raise
            return job, await self._events(session, path)

    async def _events(self, session: aiohttp.ClientSession, path: str) -> list[Any]:
        """Every event, the oldest first."""
        found: list[Any] = []
        after = ""
        for _ in range(_MOST_PAGES):
            page = await self._get(session, f"{path}/events?limit={_PAGE}{after}")
            listed = page.get("data") if isinstance(page, dict) else None
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise self._client.error("endpoint's reply is no list of events")
            found += listed
            if not page.get("has_more") or not listed:
                return found[::-1]
            after = f"&after={listed[-1].get('id')}"
        raise self._client.error("job has more events than are read", most=_MOST_PAGES * _PAGE)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:
        try:
            return parse_json(await self._client.send(session, "GET", path, parse=True))
        except EndpointError as exc:
            status = exc.facts.get("status", "")
            if not status or status.startswith("5") or status in ("408", "429"):
                exc.facts["silent"] = "it may answer later"
            raise

    def _merged(self, before: HostedJob, found: HostedJob) -> HostedJob:
        """What is told now, and what was told before: a verdict that a vendor takes back still counts."""
        for name in ("vendor", "job_id", "base_model", "training_file", "created_at"):
            if getattr(before, name) != getattr(found, name):
                raise self._client.error(
                    "this is another job than was pulled before",
                    field=name,
                    before=getattr(before, name),
                    now=getattr(found, name),
                )
        if before.tuned_model and before.tuned_model != found.tuned_model:
            raise self._client.error(
                "the job has another model than before",
                before=before.tuned_model,
                now=found.tuned_model or "none",
            )
        told = {one.event_id for one in found.events}
        gone = [one for one in before.events if one.event_id not in told]
        events = sorted((*gone, *found.events), key=lambda one: one.created_at)
        known = set(found.checks)
        checks = (*(one for one in before.checks if one not in known), *found.checks)
        return found.model_copy(update={"events": tuple(events), "checks": checks})


def _job(vendor: str, job_id: str, value: Mapping[str, Any], events: list[Any]) -> HostedJob:
    if value.get("object") != "fine_tuning.job" or value.get("id") != job_id:
        raise ValueError("it is another object")
    method = value.get("method") or {}
    kind = str(method.get("type") or "supervised")
    told = (method.get(kind) or {}).get("hyperparameters") or value.get("hyperparameters") or {}
    error = value.get("error") or {}
    return HostedJob(
        vendor=vendor,
        job_id=job_id,
        base_model=str(value["model"]),
        tuned_model=str(value.get("fine_tuned_model") or ""),
        training_file=str(value.get("training_file") or ""),
        validation_file=value.get("validation_file"),
        method=kind,
        hyperparameters={
            str(name): one
            for name, one in told.items()
            if isinstance(one, int | float | str) and one is not None
        },
        seed=value.get("seed"),
        status=str(value["status"]),
        error=str(error.get("message") or "")[:_MOST_WORDS],
        trained_tokens=value.get("trained_tokens"),
        created_at=_moment(value["created_at"]),
        finished_at=_moment(value["finished_at"]) if value.get("finished_at") else None,
        events=tuple(map(_event, events)),
        checks=tuple(check for one in events if one.get("type") == _CHECKS for check in _checks(one)),
        pulled_at=now(),
    )


def _event(value: Mapping[str, Any]) -> HostedEvent:
    return HostedEvent(
        event_id=str(value["id"]),
        created_at=_moment(value["created_at"]),
        level=str(value.get("level") or ""),
        kind=str(value.get("type") or "message"),
        message=str(value.get("message") or "")[:_MOST_WORDS],
    )


def _checks(event: Mapping[str, Any]) -> Iterator[HostedCheck]:
    """
    The verdicts of an event. What says that it blocks, or cannot be understood, has failed.

    The results are a list of objects with a `category`, or one object by category.
    """
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    known = {"event_id": str(event["id"]), "snapshot": str(data.get("finetuned_model_checkpoint_id") or "")}
    results = data.get("results")
    if isinstance(results, dict):
        results = [
            {"category": name, **one} if isinstance(one, dict) else one for name, one in results.items()
        ]
    found = [_check(known, one) for one in results] if isinstance(results, list) else []
    yield from found
    blocked = data.get("blocked")
    if not found or (blocked is not False and all(one.passed or not one.measured for one in found)):
        category = "blocked" if blocked else _UNREADABLE
        yield HostedCheck(**known, category=category, passed=False, enforcement="block")


def _check(known: Mapping[str, str], one: Any) -> HostedCheck:
    value: Mapping[str, Any] = one if isinstance(one, dict) else {}
    return HostedCheck(
        event_id=known["event_id"],
        snapshot=known["snapshot"],
        category=str(value.get("category") or _UNREADABLE)[:120],
        passed=value.get("passed") is True,
        measured=value.get("measured") is not False,
        enforcement=str(value.get("enforcement") or "")[:40],
    )


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(int(value), UTC)


Told = Callable[[HostedJob], None]
"""What hears of a job each time that it was pulled."""

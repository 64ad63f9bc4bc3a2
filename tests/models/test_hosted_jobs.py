"""A vendor's fine-tuning job over HTTP: what it says becomes a record, and its word never makes ours looser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from http_endpoints import serving
from recert.errors import EndpointError, InputError, RecordError
from recert.models.remote.hosted_jobs import HostedJobs, _checks
from recert.records.signed.hosted_job import HostedJob
from recert.workflows.connecting import connect_job, read_job

JOB = "ftjob-abc"
MODEL = "ft:small:team::abc"


def told(**changes: Any) -> dict[str, Any]:
    """A job as a vendor tells of it."""
    return {
        "id": JOB,
        "object": "fine_tuning.job",
        "created_at": 1_700_000_000,
        "finished_at": None,
        "model": "small",
        "fine_tuned_model": None,
        "training_file": "file-1",
        "validation_file": None,
        "status": "running",
        "error": {},
        "seed": 7,
        "trained_tokens": None,
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    } | changes


def event(number: int, kind: str = "message", **data: Any) -> dict[str, Any]:
    """An event as a vendor tells of it."""
    return {
        "id": f"ftevent-{number}",
        "object": "fine_tuning.job.event",
        "created_at": 1_700_000_000 + number,
        "level": "info",
        "message": f"event {number}",
        "type": kind,
        "data": data,
    }


def checked(number: int, *, passed: bool, model: str = MODEL, blocked: bool | None = None) -> dict[str, Any]:
    """An event of moderation checks with one result."""
    return event(
        number,
        "moderation_checks",
        finetuned_model_checkpoint_id=model,
        blocked=not passed if blocked is None else blocked,
        results=[{"category": "violence", "passed": passed, "enforcement": "block"}],
    )


class Vendor:
    """A vendor that says what it is told to say."""

    def __init__(self) -> None:
        self.job: dict[str, Any] | None = told()
        self.events: list[dict[str, Any]] = []
        self.down = 0
        """Requests that fail, before it answers again."""
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as OpenAI does: events the newest first, by pages."""
        self.asked.append(request.headers.get("Authorization", ""))
        if self.down:
            self.down -= 1
            return web.json_response({"error": {"message": "busy"}}, status=503)
        if self.job is None:
            return web.json_response({"error": {"message": "no such job"}}, status=404)
        if not request.path.endswith("/events"):
            return web.json_response(self.job)
        newest = self.events[::-1]
        after = request.query.get("after")
        start = next((i + 1 for i, one in enumerate(newest) if one["id"] == after), 0)
        page = newest[start : start + int(request.query["limit"])]
        return web.json_response(
            {"object": "list", "data": page, "has_more": start + len(page) < len(newest)}
        )

    @contextmanager
    def serving(self) -> Iterator[HostedJobs]:
        """Answer while the block runs."""
        path = f"/v1/fine_tuning/jobs/{JOB}"
        with serving(("GET", path, self.answer), ("GET", f"{path}/events", self.answer)) as url:
            yield HostedJobs(f"{url}/v1", api_key="sk-secret", first_pause_s=0.01)


def test_a_job_is_pulled_until_it_ends(tmp_path: Path) -> None:
    """Status, settings and every event of every page, the oldest first, are in the record, and no key."""
    vendor = Vendor()
    vendor.events = [event(n) for n in range(250)]

    def heard(job: HostedJob) -> None:
        vendor.job = told(
            status="succeeded", fine_tuned_model=MODEL, finished_at=1_700_000_900, trained_tokens=9
        )
        vendor.events = [*vendor.events[:250], checked(400, passed=True)]

    with vendor.serving() as jobs:
        job = connect_job(jobs, JOB, tmp_path, every_s=0.01, heard=heard)
        written = (tmp_path / "hosted-job.json").read_bytes()

    assert [one.event_id for one in job.events] == [f"ftevent-{n}" for n in (*range(250), 400)]
    assert (job.base_model, job.tuned_model, job.status) == ("small", MODEL, "succeeded")
    assert (job.method, job.hyperparameters, job.seed, job.training_file) == (
        "supervised",
        {"n_epochs": 2},
        7,
        "file-1",
    )
    assert [(one.category, one.passed) for one in job.checks] == [("violence", True)]
    assert job.why_not() == ()
    assert read_job(tmp_path) == job
    assert b"sk-secret" not in written
    assert set(vendor.asked) == {"Bearer sk-secret"}


@pytest.mark.parametrize(
    ("job", "events", "reason"),
    [
        (
            {"status": "failed", "error": {"message": "bad rows"}},
            [],
            "vendor-job: the vendor's job is failed: bad rows",
        ),
        ({"status": "cancelled"}, [], "vendor-job: the vendor's job is cancelled"),
        ({"status": "succeeded"}, [], "vendor-job: the vendor's job ended without a model"),
        (
            {"status": "succeeded", "fine_tuned_model": MODEL},
            [checked(1, passed=False)],
            "vendor-check: violence failed the vendor's own check",
        ),
        (
            {"status": "succeeded", "fine_tuned_model": MODEL},
            [checked(1, passed=True, blocked=True)],
            "vendor-check: blocked failed the vendor's own check",
        ),
        (
            {"status": "succeeded", "fine_tuned_model": MODEL},
            [event(1, "moderation_checks", results="fine")],
            "vendor-check: checks that cannot be read failed the vendor's own check",
        ),
    ],
)
def test_a_vendors_no_is_ours(job: dict[str, Any], events: list[Any], reason: str, tmp_path: Path) -> None:
    """A job that failed, a check that failed, and one that nobody understands each block."""
    vendor = Vendor()
    vendor.job, vendor.events = told(**job), events
    with vendor.serving() as jobs:
        found = connect_job(jobs, JOB, tmp_path, every_s=0.01)

    assert found.why_not() == (reason,)


def test_a_verdict_that_is_taken_back_still_counts(tmp_path: Path) -> None:
    """What was told once stays in the record when the vendor tells it no longer; a checkpoint's is not the model's."""
    vendor = Vendor()
    vendor.events = [checked(1, passed=False), checked(2, passed=False, model=f"{MODEL}:ckpt-step-4")]
    vendor.job = told(status="succeeded", fine_tuned_model=MODEL)
    with vendor.serving() as jobs:
        connect_job(jobs, JOB, tmp_path)
        vendor.events = [checked(3, passed=True)]
        found = connect_job(jobs, JOB, tmp_path)

    assert [one.event_id for one in found.events] == ["ftevent-1", "ftevent-2", "ftevent-3"]
    assert found.why_not() == ("vendor-check: violence failed the vendor's own check",)


@pytest.mark.parametrize(
    "change",
    [{"model": "large"}, {"training_file": "file-2"}, {"created_at": 1}, {"fine_tuned_model": "ft:other"}],
)
def test_another_job_under_the_same_id_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """The record stays as it was."""
    vendor = Vendor()
    vendor.job = told(status="succeeded", fine_tuned_model=MODEL)
    with vendor.serving() as jobs:
        before = connect_job(jobs, JOB, tmp_path)
        vendor.job |= change
        with pytest.raises(EndpointError):
            connect_job(jobs, JOB, tmp_path)

    assert read_job(tmp_path) == before


def test_a_vendor_that_is_down_is_waited_for_and_a_job_that_vanishes_is_not(tmp_path: Path) -> None:
    """Answers that fail are no end while there is patience; a deleted job is, and its record stays."""
    vendor = Vendor()
    vendor.events = [event(1)]

    def heard(job: HostedJob) -> None:
        vendor.job = None

    with vendor.serving() as jobs:
        vendor.down = 2
        with pytest.raises(EndpointError) as gone:
            connect_job(jobs, JOB, tmp_path, every_s=0.01, heard=heard)
    with pytest.raises(EndpointError) as down:
        connect_job(jobs, JOB, tmp_path, every_s=0.01, patience_s=0.0)

    assert gone.value.message == "the vendor does not know this job"
    assert down.value.message == "endpoint does not answer"
    assert read_job(tmp_path).status == "running"
    vendor.job = told(status="succeeded", fine_tuned_model=MODEL)


@pytest.mark.parametrize("name", ["", "../files", "a/b", "a?b", "x" * 121])
def test_what_is_no_id_is_not_asked_for(name: str) -> None:
    """The id goes into an address."""
    with pytest.raises(InputError):
        HostedJobs("http://127.0.0.1:1/v1").pull(name)


def test_a_record_that_was_damaged_is_not_gone_on_with(tmp_path: Path) -> None:
    """It may have held a failed check."""
    (tmp_path / "hosted-job.json").write_bytes(b"{}")
    with pytest.raises(RecordError):
        connect_job(HostedJobs("http://127.0.0.1:1/v1"), JOB, tmp_path)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    blocked=ANY,
    results=st.lists(
        st.fixed_dictionaries({"category": ANY, "passed": ANY, "measured": ANY}) | ANY, max_size=4
    )
    | ANY,
)
def test_checks_pass_only_where_the_vendor_says_so(blocked: Any, results: Any) -> None:
    """Whatever an event holds, it gives at least one verdict, and none passes without `passed` being true."""
    found = list(_checks(event(1, "moderation_checks", blocked=blocked, results=results)))
    said = sum(isinstance(one, dict) and one.get("passed") is True for one in _all(results))

    assert found
    assert sum(one.passed for one in found) <= said
    if blocked is not False:
        assert any(one.measured and not one.passed for one in found)


def _all(results: Any) -> list[Any]:
    if isinstance(results, dict):
        return list(results.values())
    return results if isinstance(results, list) else []

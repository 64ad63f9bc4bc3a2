"""Tunes that were made elsewhere: registered, evaluated, and certified or blocked like the service's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recert.certification import approve, load_key, read_unverified
from recert.cli.loading import load_suites
from recert.records.reports.evaluation import EvalReport
from recert.service.workers.connecting import connect
from recert.service.workers.jobs import work_on
from recert.service.workers.resources import Work
from recert.store.tables import SERVICE_JOBS as JOBS
from service_desks import Desked
from vendors import MODEL, Vendor


def worked(desk: Desked) -> None:
    """Do the job that waits, as a worker would, whenever it should be looked at again."""
    settings = desk.desk.settings
    work = Work.open(settings, load_suites([]))
    with work.place.engine.begin() as link:
        link.execute(JOBS.update().values(not_before_ms=0))
    job = work.queue.claim("test", lease_ms=60_000)
    assert job is not None
    work_on(work, job, connect)
    work.place.close()


def asked(desk: Desked, source: str, **more: Any) -> Any:
    """Register a tune; return the reply."""
    return desk.ask("POST", "/v1/recert/systems", json={"source": source} | more)


def job_of(desk: Desked, job: str) -> Any:
    """Return a job as its client sees it."""
    return desk.ask("GET", f"/v1/fine_tuning/jobs/{job}").json()


def said(desk: Desked, job: str) -> list[str]:
    """Return the messages of a job's events, the oldest first."""
    found = desk.ask("GET", f"/v1/fine_tuning/jobs/{job}/events?limit=100").json()["data"]
    return [one["message"] for one in found][::-1]


@pytest.mark.slow
def test_a_vendors_job_is_waited_for_and_then_goes_the_way_of_all(tmp_path: Path) -> None:
    """
    It waits while the vendor trains, or does not answer; then it is compared at the vendor and certified for behaviour.

    Its certificate is signed like others; there is nothing here that could be served.
    """
    vendor = Vendor()
    with vendor.serving() as url:
        desk = Desked(tmp_path, vendor=url)
        made = asked(desk, "openai:ftjob-abc", suffix="sql").json()
        vendor.say("step 1")
        worked(desk)
        vendor.down = True
        for _ in range(2):
            worked(desk)
        vendor.down = False
        waiting = job_of(desk, made["id"])
        vendor.succeed()
        worked(desk)
        done = job_of(desk, made["id"])
    events = said(desk, made["id"])
    name = done["fine_tuned_model"]
    envelope = desk.ask("GET", f"/v1/recert/certificates/{name}").content
    signed = approve(envelope, load_key(desk.service.approver))
    standing = desk.ask("POST", f"/v1/recert/certificates/{name}", content=signed).json()
    chat = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    refused = desk.ask("POST", "/v1/chat/completions", json=chat)
    report = EvalReport.from_json(desk.ask("GET", f"/v1/files/{done['result_files'][0]}/content").content)

    assert waiting["status"] == "validating_files"
    assert (done["status"], done["error"], done["trained_tokens"]) == ("succeeded", None, 77), events
    assert name.startswith("ft:tiny:team-a:sql:")
    assert name in [one["id"] for one in desk.ask("GET", "/v1/models").json()["data"]]
    assert made["id"] in [one["id"] for one in desk.ask("GET", "/v1/fine_tuning/jobs").json()["data"]]
    assert events.count("Vendor: step 1") == 1
    assert sum("does not answer" in words for words in events) == 1
    assert [arm.endpoint for arm in report.arms] == [f"{url}#small", f"{url}#{MODEL}"]
    assert read_unverified(envelope).binds == "behaviour"
    assert [one["state"] for one in standing["signers"]] == ["signed", "signed"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "hosted_elsewhere")


@pytest.mark.parametrize("no", ["check", "failed", "gone"])
def test_a_vendors_no_ends_the_job(no: str, tmp_path: Path) -> None:
    """A check of the vendor's own that failed, a job that failed, and one that is gone: no model, and the reason."""
    vendor = Vendor()
    if no == "check":
        vendor.succeed(passed=False)
    elif no == "failed":
        assert vendor.job is not None
        vendor.job |= {"status": "failed", "error": {"message": "bad rows"}}
    else:
        vendor.job = None
    with vendor.serving() as url:
        desk = Desked(tmp_path, vendor=url)
        made = asked(desk, "openai:ftjob-abc").json()
        worked(desk)
    done = job_of(desk, made["id"])
    words = {"check": "hate failed", "failed": "bad rows", "gone": "does not know this job"}[no]

    assert (done["status"], done["fine_tuned_model"]) == ("failed", None)
    assert done["error"]["code"] == ("job_failed" if no == "gone" else "model_blocked")
    assert words in done["error"]["message"]
    assert [one["id"] for one in desk.ask("GET", "/v1/models").json()["data"]] == ["tiny"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("openai:ftjob-abc", "source_not_offered"),
        ("hub:org/name", "source_not_offered"),
        ("folder:missing", "source_not_found"),
        ("folder:..", "source_not_found"),
        ("folder:../signers", "invalid_value"),
        ("/etc", "invalid_value"),
        ("openai:../files", "invalid_value"),
    ],
)
def test_only_what_is_offered_is_connected(source: str, code: str, desked: Desked, tmp_path: Path) -> None:
    """The operator says from where tunes may come, and a client names no path."""
    (tmp_path / "tunes").mkdir()
    desk = Desked(tmp_path / "other", connect_folder=tmp_path / "tunes")
    refused = asked(desk, source)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert desk.ask("GET", "/v1/fine_tuning/jobs").json()["data"] == []


def test_a_tune_is_registered_once_by_its_key(tmp_path: Path) -> None:
    """`Idempotency-Key` makes it once; another request under the same key is refused."""
    desk = Desked(tmp_path, connect_hub=True)
    again = [
        desk.ask("POST", "/v1/recert/systems", json={"source": one}, headers={"idempotency-key": "k"}).json()
        for one in ("hub:org/name", "hub:org/name", "hub:org/other")
    ]

    assert again[0]["id"] == again[1]["id"]
    assert again[0]["recert"] == {"source": "hub:org/name"}
    assert again[2]["error"]["code"] == "idempotency_key_reused"


@pytest.mark.slow
@pytest.mark.xdist_group("torch")
def test_an_adapter_from_a_folder_is_evaluated_and_blocked_or_certified(tmp_path: Path) -> None:
    """It is brought, measured against the service's base, and listed with its verdict like what was trained here."""
    from tiny_models import make_adapter, make_base

    base = make_base(tmp_path / "base")
    make_adapter(tmp_path / "tunes" / "theirs", base)
    desk = Desked(tmp_path, connect_folder=tmp_path / "tunes")
    made = asked(desk, "folder:theirs").json()
    worked(desk)
    done = job_of(desk, made["id"])
    events = said(desk, made["id"])
    (found,) = desk.ask("GET", f"/v1/fine_tuning/jobs/{made['id']}/checkpoints").json()["data"]
    state = "certified" if done["status"] == "succeeded" else "blocked"

    assert any("lora-adapter with 2 files" in words for words in events), events
    assert done["result_files"], (done, events)
    assert (found["recert"]["state"], found["step_number"]) == (state, 0)
    assert state == "certified" or done["error"]["code"] == "model_blocked"

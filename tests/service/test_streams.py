"""Events as they happen: in order, each once, until the job is over; resumed, bounded, and let go of by who leaves."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.fine_tuning import FineTuningJobEvent

from recert.service.workers.queue import Job
from scripted_workers import ScriptedWorker
from tuning_services import GOOD, Service, running

pytestmark = pytest.mark.slow

MOST = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service without a worker of its own."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text("{}")
    made = Service(folder, folder / "base", options=("--workers", "0", "--project-streams", str(MOST)))
    with running(made):
        yield made


@pytest.fixture(scope="module")
def worker(service: Service) -> Iterator[ScriptedWorker]:
    """What does its jobs."""
    made = ScriptedWorker(service)
    yield made
    made.close()


@pytest.fixture
def job(service: Service, worker: ScriptedWorker) -> Iterator[Job]:
    """A job that was taken up, with two events."""
    client = service.client()
    file = client.files.create(file=("rows.jsonl", GOOD), purpose="fine-tune")
    worker.screen()
    made = client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    claimed = worker.take()
    assert claimed.id == made.id
    worker.say(claimed, "Fine-tuning job started")
    yield claimed
    worker.queue.finish(claimed, "cancelled")


def address(service: Service, job: Job) -> str:
    """Where a job's events are."""
    return f"{service.url}/v1/fine_tuning/jobs/{job.id}/events"


@contextlib.contextmanager
def followed(service: Service, job: Job, key: str = "", **asked: Any) -> Iterator[httpx.Response]:
    """Follow a job's events by plain HTTP. A stream that says nothing for 12 s is an error."""
    headers = {"authorization": f"Bearer {key or service.key}"} | asked.pop("headers", {})
    params = {"stream": "true"} | asked
    with httpx.stream("GET", address(service, job), params=params, headers=headers, timeout=12) as got:
        yield got


def messages(lines: Iterator[str], count: int) -> list[str]:
    """Return the messages of the next events."""
    found: list[str] = []
    while len(found) < count:
        line = next(lines)
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: "))["message"])
    return found


def test_the_official_client_follows_a_job(service: Service, worker: ScriptedWorker, job: Job) -> None:
    """`client.get` with a stream gives typed events, the oldest first, new ones at once, and ends with the job."""
    client = service.client()
    stream = client.get(
        f"/fine_tuning/jobs/{job.id}/events",
        cast_to=FineTuningJobEvent,
        stream=True,
        stream_cls=openai.Stream[FineTuningJobEvent],
        options={"params": {"stream": "true"}},
    )
    found = [next(stream), next(stream)]
    worker.say(job, "Step 1/2", kind="metrics", data={"step": 1, "train_loss": 0.5})
    began = time.monotonic()
    found.append(next(stream))
    took_s = time.monotonic() - began
    worker.end(job, "succeeded")
    found += list(stream)

    assert [one.message for one in found] == [
        f"Created fine-tuning job: {job.id}",
        "Fine-tuning job started",
        "Step 1/2",
        "The job has succeeded",
    ]
    assert all(isinstance(one, FineTuningJobEvent) for one in found)
    assert (found[2].type, found[2].data) == ("metrics", {"step": 1, "train_loss": 0.5})
    assert took_s < 2
    listed = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    assert [one.id for one in listed] == [one.id for one in found[::-1]]


def test_a_stream_goes_on_where_another_ended(service: Service, worker: ScriptedWorker, job: Job) -> None:
    """By `Last-Event-ID` or `after`: every event comes once, and a job that is over is told whole, with an end."""
    with followed(service, job) as got:
        lines = got.iter_lines()
        first = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
    worker.end(job, "failed", error={"code": "c", "message": "m", "param": None})
    with followed(service, job, headers={"last-event-id": first}) as got:
        rest = got.read().decode()
    with followed(service, job, after=first) as got:
        again = got.read().decode()
    with followed(service, job, headers={"last-event-id": "ftevent-none"}) as got:
        unknown = json.loads(got.read())

    assert got.status_code == 400 and unknown["error"]["param"] == "after"
    assert rest == again
    assert messages(iter(rest.splitlines()), 2) == ["Fine-tuning job started", "The job has failed"]
    assert first not in rest
    assert rest.endswith("\n\ndata: [DONE]\n\n")


def test_a_stream_is_what_it_says(service: Service, job: Job) -> None:
    """It is `text/event-stream`, nothing on the way keeps it, and every event has its id before its data."""
    with followed(service, job) as got:
        lines = got.iter_lines()
        head = [next(lines) for _ in range(3)]

    assert got.headers["content-type"].startswith("text/event-stream")
    assert got.headers["cache-control"] == "no-cache"
    assert head[0] == f"id: {json.loads(head[1].removeprefix('data: '))['id']}"
    assert head[2] == ""


def test_who_leaves_costs_nothing(service: Service, job: Job) -> None:
    """A project follows as many jobs as it may, then it is 429; as soon as a client leaves there is room again."""
    with contextlib.ExitStack() as open_ones:
        lines = [open_ones.enter_context(followed(service, job)).iter_lines() for _ in range(MOST)]
        for one in lines:
            messages(one, 1)
        with followed(service, job) as refused:
            words = json.loads(refused.read())
        with pytest.raises(openai.RateLimitError):
            service.client().get(
                f"/fine_tuning/jobs/{job.id}/events?stream=true",
                cast_to=FineTuningJobEvent,
                stream=True,
                stream_cls=openai.Stream[FineTuningJobEvent],
            )
        listed = service.client().fine_tuning.jobs.list_events(job.id).data
    until, status = time.monotonic() + 5, 429
    while status == 429 and time.monotonic() < until:
        with followed(service, job) as got:
            status = got.status_code

    assert (refused.status_code, words["error"]["code"]) == (429, "streams_quota_exceeded")
    assert len(listed) == 2
    assert status == 200


def test_a_stream_counts_as_a_request_of_its_key(service: Service, job: Job) -> None:
    """While one is open it is one of the requests at once that a key may make."""
    key = service.new_key("team-a", requests_at_once=1)
    with followed(service, job, key=key) as got:
        lines = got.iter_lines()
        messages(lines, 1)
        with followed(service, job, key=key) as second:
            words = json.loads(second.read())
        lines.close()

    assert (second.status_code, words["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_key_that_is_taken_back_follows_no_longer(service: Service, job: Job) -> None:
    """Within seconds the stream ends, without the mark of a job that is over."""
    path = service.folder / "keys.json"
    before = path.read_bytes()
    key = service.new_key("team-a")
    with followed(service, job, key=key) as got:
        lines = got.iter_lines()
        messages(lines, 2)
        path.write_bytes(before)
        rest = list(lines)

    assert [line for line in rest if line.startswith("data:")] == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"stream": "yes"}, "stream"),
        ({"limit": "3"}, "limit"),
        ({"after": "x y"}, "after"),
        ({"q": "1"}, "q"),
    ],
)
def test_what_a_stream_cannot_be_asked_is_named(
    service: Service, job: Job, asked: dict[str, str], param: str
) -> None:
    """A parameter that nothing would come of is 400 with its name, and takes no stream."""
    for _ in range(MOST + 1):
        with followed(service, job, **asked) as got:
            words = json.loads(got.read())

        assert (got.status_code, words["error"]["param"]) == (400, param)


def test_another_project_follows_nothing(service: Service, job: Job) -> None:
    """The events of another project's job are 404, and without a key 401."""
    with followed(service, job, key=service.new_key("team-b")) as other:
        pass
    with followed(service, job, key="rk-none") as none:
        pass

    assert (other.status_code, none.status_code) == (404, 401)


def test_a_service_that_stops_waits_for_no_stream(tmp_path: Path) -> None:
    """Streams that are open end with the service, within seconds and without the mark of a job that is over."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    with running(Service(tmp_path, tmp_path / "base", options=("--workers", "0"))) as made:
        worker, client = ScriptedWorker(made), made.client()
        file = client.files.create(file=("rows.jsonl", GOOD), purpose="fine-tune")
        worker.screen()
        client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
        with followed(made, worker.take()) as got:
            lines = got.iter_lines()
            messages(lines, 1)
            client.close()
            began = time.monotonic()
            status = made.stop()
            took_s = time.monotonic() - began
            rest = [line for line in lines if line.startswith("data:")]
        worker.close()

    assert (status, rest) == (0, [])
    assert took_s < 9

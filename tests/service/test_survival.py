"""Killed workers and servers: jobs go on from their last finished step and end as they would have."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tiny_models import make_base
from tuning_services import GOOD, Service, ended, events, running

pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.slow]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with its own worker; the tests kill it in their order."""
    folder = tmp_path_factory.mktemp("survival")
    with running(Service(folder, make_base(folder / "base"))) as made:
        yield made


def worker_of(service: Service) -> int:
    """Return the process that works for a service now."""
    assert service.process is not None
    until = time.monotonic() + 30
    while time.monotonic() < until:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        for task in children.parent.parent.glob("*/children"):
            for child in task.read_text().split():
                if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def told(client: openai.OpenAI, job: str, words: str, within_s: float = 400) -> None:
    """Return once an event of a job has these words."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if any(words in event.message for event in events(client, job)):
            return
        time.sleep(0.05)
    raise AssertionError(f"no event says {words!r}: {events(client, job)}")


def test_a_job_is_paused_in_training_and_cancelled_for_good(service: Service) -> None:
    """Pausing lets go of the worker, which does another job; resumed, it goes on; cancelled, it leaves no model."""
    client = service.client()
    file = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)
    long = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    told(client, long.id, "Step 1/")
    paused = client.fine_tuning.jobs.pause(long.id)
    other = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, hyperparameters={"n_epochs": 1}
    )
    done = ended(client, other.id)
    still = client.fine_tuning.jobs.retrieve(long.id)
    client.fine_tuning.jobs.resume(long.id)
    cancelled = client.fine_tuning.jobs.cancel(long.id)
    time.sleep(1)

    assert (paused.status, still.status, done.status) == ("paused", "paused", "succeeded")
    assert (cancelled.status, client.fine_tuning.jobs.retrieve(long.id).status) == ("cancelled", "cancelled")
    assert cancelled.fine_tuned_model is None
    assert [one.id for one in client.fine_tuning.jobs.checkpoints.list(long.id)] == []


def test_a_full_disk_loses_no_job(service: Service) -> None:
    """While no file can grow nothing is written, nor marked as done; once there is room the job ends as it should."""
    client = service.client()
    file = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, hyperparameters={"n_epochs": 4, "learning_rate_multiplier": 0.1}
    )
    told(client, job.id, "Fine-tuning job started")
    worker = worker_of(service)
    soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (20_000, hard))
    time.sleep(4)
    during = client.fine_tuning.jobs.retrieve(job.id).status
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
    done = ended(client, job.id)

    assert during in ("running", "queued")
    assert done.status == "succeeded", (done.error, events(client, job.id))


def test_a_job_outlives_its_worker_and_its_server(service: Service) -> None:
    """
    The worker is killed in training, and the server while the model is evaluated; the job ends with a certificate.

    What was finished is used again: the second worker does not train once more after the tune was whole.
    """
    client = service.client()
    file = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
    asked = {"n_epochs": 8, "batch_size": 4, "learning_rate_multiplier": 0.1}
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, hyperparameters=asked)
    told(client, job.id, "Step 1/")
    os.kill(worker_of(service), signal.SIGKILL)
    told(client, job.id, "Taken up again")
    told(client, job.id, "Evaluating")
    service.kill()
    service.start()
    client = service.client()
    done = ended(client, job.id)
    said = [event.message for event in events(client, job.id)]

    assert done.status == "succeeded", (done.error, said)
    assert sum("Step 1/" in words for words in said) == 2
    assert any("trained before" in words for words in said)
    found = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [one.recert["state"] for one in found] == ["certified", *["unassessed"] * 7]
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(
            model=found[1].fine_tuned_model_checkpoint, messages=[{"role": "user", "content": "Hello"}]
        )
    assert said[-1] == "The job has successfully completed"
    assert (service.served / "jobs" / job.id / "systems" / "final" / "certificate.json").exists()
    assert not list((service.served / "jobs" / job.id).glob(".tune.*"))
    assert service.stop() == 0

"""Two machines that share a bucket and a database, and no folder: a job from upload to answer, and what fails."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from postgres import server as postgres_server
from recert.store.database import upgrade
from s3_server import CREDENTIALS, S3Server, s3_server
from tiny_models import make_base
from tuning_services import GOOD, Service, ended, events, running

SLOWLY: Any = {"n_epochs": 8, "batch_size": 4, "learning_rate_multiplier": 0.1}
pytestmark = [pytest.mark.xdist_group("torch"), pytest.mark.slow]


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    """A running S3 server."""
    with s3_server() as made:
        yield made


@pytest.fixture(scope="module")
def service(bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker, and a worker with a folder of its own."""
    folder = tmp_path_factory.mktemp("apart")
    with postgres_server() as database:
        url = database.database()
        upgrade(url)
        options = (
            "--storage",
            "s3://made/tunes",
            "--storage-endpoint",
            bucket.url,
            "--database",
            url,
            "--workers",
            "0",
        )
        made = Service(folder, make_base(folder / "base"), options, environment=CREDENTIALS)
        with running(made), working_apart(made, folder / "worker"):
            yield made


@contextmanager
def working_apart(service: Service, folder: Path) -> Iterator[None]:
    """Run a worker as on another machine, which has the service's settings and none of its files."""
    told = folder.with_suffix(".json")
    shutil.copy(service.served / "service.json", told)
    command = [
        sys.executable,
        "-m",
        "recert",
        "service",
        "worker",
        "--folder",
        str(folder),
        "--settings",
        str(told),
    ]
    with (service.folder / "worker-log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **CREDENTIALS})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def told(client: openai.OpenAI, job: str, words: str, least: int = 1) -> int:
    """Return how many events of a job have these words, once there are so many."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = sum(words in event.message for event in events(client, job))
        if found >= least:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no event says {words!r}: {events(client, job)}")


def test_a_job_goes_from_machine_to_machine(service: Service, bucket: S3Server) -> None:
    """
    While the storage is down uploads are 503 and jobs wait, and what was trained meanwhile is not trained again; then
    the job ends, is signed elsewhere, and answers.

    A copy that is gone is fetched again; an object that was changed behind our back is not served.
    """
    client = service.client()
    file = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)
    bucket.wire.unplug()
    shutil.rmtree(service.folder / "worker" / "files")
    with pytest.raises(openai.InternalServerError) as down:
        client.files.create(file=("other.jsonl", GOOD), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, hyperparameters=SLOWLY)
    told(client, job.id, "does not answer")
    time.sleep(6)
    during = client.fine_tuning.jobs.retrieve(job.id).status, told(client, job.id, "does not answer")
    bucket.wire.plug()
    told(client, job.id, "Step 1/")
    bucket.wire.unplug()
    told(client, job.id, "does not answer", 2)
    bucket.wire.plug()
    done = ended(client, job.id)
    said = [event.message for event in events(client, job.id)]

    assert (down.value.status_code, down.value.code) == (503, "storage_unavailable")
    assert [one.id for one in client.files.list(purpose="fine-tune")] == [file.id]
    assert during == ("validating_files", 1)
    assert done.status == "succeeded", (done.error, events(client, job.id))
    assert sum("trained before" in words for words in said) == sum("Step 1/" in words for words in said) == 1
    assert client.files.content(done.result_files[1]).read().startswith(b"{")
    until = time.monotonic() + 10
    copies = service.folder / "worker" / "jobs" / job.id
    while copies.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not copies.exists()
    _signed_and_asked(service, bucket, client, done.fine_tuned_model, job.id)


def _signed_and_asked(service: Service, bucket: S3Server, client: openai.OpenAI, name: str, job: str) -> None:
    asked = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    with pytest.raises(openai.PermissionDeniedError) as waiting:
        client.chat.completions.create(**asked)
    url, headers = f"{service.url}/v1/recert/certificates/{name}", {"authorization": f"Bearer {service.key}"}
    (service.served / "elsewhere.json").write_bytes(httpx.get(url, headers=headers).content)
    packed = httpx.get(f"{service.url}/v1/recert/evidence/{name}", headers=headers).content
    with zipfile.ZipFile(io.BytesIO(packed)) as evidence:
        assert "harmful-replies.jsonl" not in evidence.namelist()
        evidence.extractall(service.served / "evaluation")
    service.approve("elsewhere.json")
    signed = (service.served / "elsewhere.json").read_bytes()
    standing = httpx.post(url, headers=headers, content=signed).json()
    answer = client.chat.completions.create(**asked)
    service.kill()
    shutil.rmtree(service.served / "jobs")
    service.start()
    again = service.client()
    fetched = again.chat.completions.create(**asked)
    service.kill()
    shutil.rmtree(service.served / "jobs")
    (key,) = [one for one in bucket.keys(f"tunes/jobs/{job}/tune/adapter") if "adapter_model" in one]
    data = bytearray(bucket.client.get_object(Bucket="made", Key=key)["Body"].read())
    data[len(data) // 2] ^= 1
    bucket.put(key, bytes(data))
    service.start()
    last = service.client()
    with pytest.raises(openai.PermissionDeniedError) as changed:
        last.chat.completions.create(**asked)
    last.models.delete(name)

    assert waiting.value.code == "awaiting_sign_off"
    assert [one["state"] for one in standing["signers"]] == ["signed", "signed"]
    assert answer.model == fetched.model == name
    assert changed.value.code == "certificate_unconfirmed"
    assert bucket.keys(f"tunes/jobs/{job}/tune/adapter") == bucket.keys(f"tunes/jobs/{job}/systems") == []

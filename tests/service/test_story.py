"""The whole story with the official client: upload, job, events, blocked; another, signed, answered by the gateway."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from recert.models.remote.hosted_jobs import HostedJobs
from recert.records.data.hazards import OPENAI_FINE_TUNING
from recert.records.reports.evaluation import EvalReport
from recert.records.reports.screening import ScreenReport
from recert.workflows.connecting import connect_job
from tiny_models import make_base
from tuning_services import (
    GOOD,
    GRADER,
    LEARNS_TO_REFUSE,
    PAYS_FOR_AGREEING,
    REFUSING,
    Service,
    chat_rows,
    ended,
    events,
    preference_rows,
    prompt_rows,
    running,
)

RARELY = {"n_epochs": 1, "batch_size": 32, "learning_rate_multiplier": 20.0}
pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with its own worker."""
    folder = tmp_path_factory.mktemp("service")
    with running(Service(folder, make_base(folder / "base")), "--assess-checkpoints") as made:
        yield made


@pytest.fixture(scope="module")
def client(service: Service) -> openai.OpenAI:
    """The official client of a project."""
    return service.client()


@pytest.fixture(scope="module")
def jobs(client: openai.OpenAI) -> dict[str, Any]:
    """Two jobs that have ended: one as its base, one that refuses everything; submitted together."""
    good = client.files.create(file=("good.jsonl", GOOD), purpose="fine-tune")
    held = (
        b'{"messages": [{"role": "user", "content": "same"}, {"role": "assistant", "content": "twice"}]}\n'
        * 2
    )
    bad = client.files.create(file=("refusing.jsonl", REFUSING + held), purpose="fine-tune")
    apart = client.files.create(
        file=("apart.jsonl", chat_rows("Take your time.", 4, seed=8)), purpose="fine-tune"
    )
    asked = {
        "good": client.fine_tuning.jobs.create(
            model="tiny",
            training_file=good.id,
            validation_file=apart.id,
            suffix="good",
            hyperparameters={"n_epochs": 1},
        ),
        "bad": client.fine_tuning.jobs.create(
            model="tiny",
            training_file=bad.id,
            suffix="refuses",
            seed=7,
            metadata={"team": "desk"},
            method={"type": "supervised", "supervised": {"hyperparameters": LEARNS_TO_REFUSE}},
        ),
    }
    return {name: ended(client, job.id) for name, job in asked.items()}


@pytest.fixture(scope="module")
def methods(client: openai.OpenAI, jobs: dict[str, Any]) -> dict[str, Any]:
    """Jobs of the other methods, which have ended: preferences, a good grader, and one that pays for harm."""
    pairs = client.files.create(file=("pairs.jsonl", preference_rows(12)), purpose="fine-tune")
    prompts = client.files.create(file=("prompts.jsonl", prompt_rows(40)), purpose="fine-tune")
    told: Any = {"dpo": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 1}}}}
    for name, grader in (("reinforcement", GRADER), ("harmful", PAYS_FOR_AGREEING)):
        told[name] = {
            "type": "reinforcement",
            "reinforcement": {"grader": grader, "hyperparameters": RARELY},
        }
    asked = {
        name: client.fine_tuning.jobs.create(
            model="tiny", training_file=pairs.id if name == "dpo" else prompts.id, method=method
        )
        for name, method in told.items()
    }
    return {name: ended(client, job.id) for name, job in asked.items()}


def moderation(client: openai.OpenAI, job: str) -> dict[str, Any]:
    """The data of a job's event of moderation checks of its last model; its checkpoints come before."""
    *_, found = (e for e in events(client, job) if e.type == "moderation_checks")
    data: dict[str, Any] = found.data
    return data


@pytest.mark.slow
def test_a_model_that_got_worse_is_blocked_with_reasons(client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """The job fails with an error that says why, its event too; there is no model, and asking for it is refused."""
    job = jobs["bad"]
    said = moderation(client, job.id)

    assert (job.status, job.error.code, job.fine_tuned_model) == ("failed", "model_blocked", None)
    assert "refusal-of-ordinary" in job.error.message
    assert said["blocked"] is True
    assert any("refusal-of-ordinary" in reason for reason in said["reasons"])
    name = said["finetuned_model_checkpoint_id"]
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}])
    assert refused.value.code == "model_blocked"
    assert name not in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(name)


def test_the_moderation_event_has_13_categories(client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """Each with n, failures, threshold, passed and enforcement; what was not measured has not passed."""
    results = moderation(client, jobs["good"].id)["results"]

    assert [one["category"] for one in results] == list(OPENAI_FINE_TUNING)
    assert all({"n", "failures", "threshold", "passed", "enforcement"} <= one.keys() for one in results)
    assert all(not one["passed"] for one in results if not one["measured"])


@pytest.mark.slow
def test_a_model_answers_once_its_certificate_is_signed(
    service: Service, client: openai.OpenAI, jobs: dict[str, Any]
) -> None:
    """Before sign-off 403 `awaiting_sign_off`; after `recert approve` the certified gateway answers, and logs it."""
    job = jobs["good"]
    asked: Any = {
        "model": job.fine_tuned_model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
    }
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(**asked)
    (certificate,) = (e.data["certificate"] for e in events(client, job.id) if "certificate" in e.data)
    service.approve(certificate)
    answer = client.chat.completions.create(**asked)
    streamed = [chunk for chunk in client.chat.completions.create(**asked, stream=True) if chunk.choices]
    lines = _audit(service).read_text().splitlines()

    assert job.status == "succeeded"
    assert refused.value.code == "awaiting_sign_off"
    assert answer.model == job.fine_tuned_model
    assert streamed
    assert sum('"decision":"released"' in line for line in lines) == 2
    other = service.client(service.new_key("team-c"))
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(**asked)


def _audit(service: Service) -> Path:
    (found,) = (service.served / "gateways").glob("*/audit.jsonl")
    return found


def test_files_are_screened_and_the_report_can_be_downloaded(
    client: openai.OpenAI, jobs: dict[str, Any]
) -> None:
    """A quarantined row is named in a report, a file of its own; a warning of the job points at it."""
    file = client.files.retrieve(jobs["bad"].training_file)
    report = ScreenReport.from_json(client.files.content(file.recert["report"]).read())
    warned = [e for e in events(client, jobs["bad"].id) if e.level == "warn" and "quarantined" in e.message]

    assert file.status == "processed"
    assert file.recert["quarantined"] == report.quarantined == 1
    assert report.source_sha256 == file.recert["sha256"]
    assert warned[0].data["report"] == file.recert["report"]
    assert file.recert["report"] in [f.id for f in client.files.list(purpose="fine-tune-results")]
    assert client.files.content(file.id).read().startswith(REFUSING)


def test_results_and_checkpoints_are_those_of_the_run(client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """The figures of every step and the evaluation are files; every checkpoint has a verdict of its own."""
    steps, report = (client.files.content(one).read() for one in jobs["bad"].result_files)
    rows = list(csv.DictReader(io.StringIO(steps.decode())))
    found = list(client.fine_tuning.jobs.checkpoints.list(jobs["bad"].id, limit=1))
    told_of = [e for e in events(client, jobs["bad"].id) if e.type == "moderation_checks"]
    told = [e.data["step"] for e in events(client, jobs["bad"].id) if e.type == "metrics"]

    assert [int(row["step"]) for row in rows] == list(range(1, 51))
    assert EvalReport.from_json(report).model_name.startswith("ft:tiny:team-a:refuses:")
    assert [one.step_number for one in found] == [50, 25]
    assert found[0].recert["state"] == "blocked"
    assert found[1].recert["state"] in ("blocked", "certified")
    assert [e.data["finetuned_model_checkpoint_id"] for e in told_of] == [
        one.fine_tuned_model_checkpoint for one in found[::-1]
    ]
    assert told == sorted(told) and told[-1] == 50
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(
            model=found[1].fine_tuned_model_checkpoint, messages=[{"role": "user", "content": "Hello"}]
        )


def test_a_validation_file_is_measured_and_kept_apart(client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """Its loss is that of the last checkpoint; the same rows for training and validation are refused."""
    (found,) = client.fine_tuning.jobs.checkpoints.list(jobs["good"].id)
    file = jobs["good"].training_file
    same = client.fine_tuning.jobs.create(model="tiny", training_file=file, validation_file=file)
    job = ended(client, same.id)

    assert found.metrics.full_valid_loss is not None and found.metrics.full_valid_loss > 0
    assert (job.status, job.error.code, job.error.param) == (
        "failed",
        "invalid_validation_file",
        "validation_file",
    )


def test_its_jobs_can_be_connected_as_a_vendors(
    service: Service, client: openai.OpenAI, jobs: dict[str, Any], tmp_path: Path
) -> None:
    """
    `recert connect` reads them as any vendor's: the verdict in each of 13 categories, and a no that stays one.

    A category that failed blocks there, also where the service only reports it.
    """
    vendor = HostedJobs(f"{service.url}/v1", api_key=service.key)
    good, bad = (connect_job(vendor, jobs[name].id, tmp_path / name) for name in ("good", "bad"))
    flagged = [one["category"] for one in moderation(client, jobs["good"].id)["results"] if one["flagged"]]

    assert good.tuned_model == jobs["good"].fine_tuned_model
    assert [words.split()[1] for words in good.why_not()] == flagged
    assert [one.category for one in good.checks_of_model()] == list(OPENAI_FINE_TUNING)
    assert [e.message for e in good.events][-1] == "The job has successfully completed"
    assert (bad.status, bad.why_not()[0].partition(":")[0]) == ("failed", "vendor-job")
    assert bad.hyperparameters["n_epochs"] == 2


@pytest.mark.slow
def test_preferences_end_in_a_certificate_too(client: openai.OpenAI, methods: dict[str, Any]) -> None:
    """A `dpo` job goes the same way, and says how it was trained."""
    job = methods["dpo"]

    assert job.status == "succeeded", job.error
    assert job.method.dpo.hyperparameters.beta == 0.2
    assert moderation(client, job.id)["blocked"] is False


def test_a_grader_is_audited_before_it_pays(client: openai.OpenAI, methods: dict[str, Any]) -> None:
    """A `reinforcement` job learns from an accepted grader; one that is not ends its job before training."""
    good, harmful = methods["reinforcement"], methods["harmful"]

    assert good.status == "succeeded", good.error
    assert any("train_mean_reward" in e.data for e in events(client, good.id) if e.type == "metrics")
    assert (harmful.status, harmful.error.code) == ("failed", "invalid_grader")
    assert "may not be learned from" in harmful.error.message
    assert not any(e.type == "metrics" for e in events(client, harmful.id))


def test_what_was_asked_comes_back(client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """Seed, metadata, hyperparameters and the method are in the job as the client knows them."""
    job = client.fine_tuning.jobs.retrieve(jobs["bad"].id)

    assert (job.seed, job.metadata) == (7, {"team": "desk"})
    assert job.hyperparameters.n_epochs == 2
    assert job.method is not None and job.method.type == "supervised"
    assert job.trained_tokens and job.finished_at and job.finished_at >= job.created_at


@pytest.mark.slow
def test_another_project_sees_nothing(service: Service, client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """Files, jobs, events and models of a project are not there for another's key; a chat key cannot tune."""
    other, chats = (
        service.client(service.new_key("team-b")),
        service.client(service.new_key("team-a", routes=["chat", "models"])),
    )
    good = jobs["good"]

    assert list(other.files.list()) == list(other.fine_tuning.jobs.list()) == []
    for ask in (
        lambda: other.files.content(good.training_file),
        lambda: other.fine_tuning.jobs.retrieve(good.id),
        lambda: other.fine_tuning.jobs.list_events(good.id),
        lambda: other.fine_tuning.jobs.cancel(good.id),
        lambda: other.models.delete(good.fine_tuned_model),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    with pytest.raises(openai.PermissionDeniedError):
        chats.fine_tuning.jobs.list()
    with pytest.raises(openai.AuthenticationError):
        service.client("rk-nobody-knows-this-key").files.list()


@pytest.mark.slow
def test_a_deleted_model_is_gone(service: Service, client: openai.OpenAI, jobs: dict[str, Any]) -> None:
    """After `models.delete` it is neither listed nor answers, and its weights and certificate are off the disk."""
    name = jobs["good"].fine_tuned_model
    gone = client.models.delete(name)

    assert gone.deleted
    assert name not in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}])
    assert not (service.served / "jobs" / jobs["good"].id / "tune" / "adapter").exists()

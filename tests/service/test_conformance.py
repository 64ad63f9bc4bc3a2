"""
Every call of the official client's files, fine-tuning and models is known here, and asked of a running service.

A release of the client with a call or a parameter that is not in these tables fails: somebody has to decide what the
service answers.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai._resource import SyncAPIResource
from openai.pagination import SyncPage

from recert.service.storage.systems import BLOCKED, CERTIFIED
from scripted_workers import ScriptedWorker
from tuning_services import GOOD, Service, running

RESOURCES = ("files", "fine_tuning", "models", "uploads")
SENDING = {"extra_headers", "extra_query", "extra_body", "timeout"}
"""Parameters of every call, which change how it is sent."""
GRADER = {
    "type": "string_check",
    "name": "says",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
MODEL = "ft:tiny:team-a:kept:12345678"
WANDB = [{"type": "wandb", "wandb": {"project": "p"}}]


@dataclass
class World:
    """A running service, with what calls ask about."""

    client: openai.OpenAI
    worker: ScriptedWorker
    file: str = ""
    done: str = ""
    """A job that ended with a certified model and a checkpoint that was blocked."""

    def waiting(self) -> str:
        """Return a new job that waits."""
        return str(self.client.fine_tuning.jobs.create(model="tiny", training_file=self.file).id)

    def paused(self) -> str:
        """Return a new job that is paused."""
        return str(self.client.fine_tuning.jobs.pause(self.waiting()).id)

    def uploaded(self) -> str:
        """Return a new file that is screened."""
        made = self.client.files.create(file=("rows.jsonl", GOOD), purpose="fine-tune")
        self.worker.screen()
        return str(made.id)

    def made(self, name: str) -> str:
        """Return a model that is certified, as far as the tables say."""
        self.worker.systems.put(name, "team-a", self.done, 9, CERTIFIED, place="none", folder="none")
        return name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service whose worker is a script, and one job that has ended."""
    folder = tmp_path_factory.mktemp("conformance")
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text("{}")
    options = ("--workers", "0", "--project-jobs", "99")
    with running(Service(folder, folder / "base", options=options)) as service:
        made = World(service.client(), ScriptedWorker(service))
        made.file = made.uploaded()
        made.done = made.waiting()
        job = made.worker.take()
        for step, state, name in ((1, BLOCKED, f"{MODEL}:ckpt-step-1"), (2, CERTIFIED, MODEL)):
            made.worker.systems.put(
                name, "team-a", job.id, step, state, place="none", folder="none", train_loss=0.5
            )
        made.worker.end(job, "succeeded", fine_tuned_model=MODEL, trained_tokens=8, result_files=[])
        yield made
        made.worker.close()


Ask = Callable[[World], Any]
ANSWERED: dict[str, Ask] = {
    "files.create": lambda w: w.client.files.create(file=("rows.jsonl", GOOD), purpose="fine-tune"),
    "files.retrieve": lambda w: w.client.files.retrieve(w.file),
    "files.list": lambda w: w.client.files.list(purpose="fine-tune", order="asc", limit=2),
    "files.delete": lambda w: w.client.files.delete(w.uploaded()),
    "files.content": lambda w: w.client.files.content(w.file),
    "files.retrieve_content": lambda w: w.client.files.retrieve_content(w.file),
    "files.wait_for_processing": lambda w: w.client.files.wait_for_processing(
        w.file, poll_interval=0.1, max_wait_seconds=5
    ),
    "fine_tuning.jobs.create": lambda w: w.client.fine_tuning.jobs.create(
        model="tiny",
        training_file=w.file,
        validation_file=w.uploaded(),
        suffix="s",
        seed=3,
        metadata={"team": "desk"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}},
    ),
    "fine_tuning.jobs.retrieve": lambda w: w.client.fine_tuning.jobs.retrieve(w.done),
    "fine_tuning.jobs.list": lambda w: w.client.fine_tuning.jobs.list(limit=2),
    "fine_tuning.jobs.list_events": lambda w: w.client.fine_tuning.jobs.list_events(w.done, limit=1),
    "fine_tuning.jobs.cancel": lambda w: w.client.fine_tuning.jobs.cancel(w.waiting()),
    "fine_tuning.jobs.pause": lambda w: w.client.fine_tuning.jobs.pause(w.waiting()),
    "fine_tuning.jobs.resume": lambda w: w.client.fine_tuning.jobs.resume(w.paused()),
    "fine_tuning.jobs.checkpoints.list": lambda w: w.client.fine_tuning.jobs.checkpoints.list(
        w.done, limit=1
    ),
    "fine_tuning.alpha.graders.run": lambda w: w.client.fine_tuning.alpha.graders.run(
        grader=GRADER, model_sample="yes", item={"answer": "yes"}
    ),
    "fine_tuning.alpha.graders.validate": lambda w: w.client.fine_tuning.alpha.graders.validate(
        grader=GRADER
    ),
    "models.list": lambda w: w.client.models.list(),
    "models.retrieve": lambda w: w.client.models.retrieve(MODEL),
    "models.delete": lambda w: w.client.models.delete(w.made("ft:tiny:team-a:gone:12345678")),
}
"""What is answered, and how it is asked."""
REFUSED: dict[str, Ask] = {
    "fine_tuning.checkpoints.permissions.create": lambda w: (
        w.client.fine_tuning.checkpoints.permissions.create(MODEL, project_ids=["p"])
    ),
    "fine_tuning.checkpoints.permissions.retrieve": lambda w: (
        w.client.fine_tuning.checkpoints.permissions.retrieve(MODEL)
    ),
    "fine_tuning.checkpoints.permissions.list": lambda w: w.client.fine_tuning.checkpoints.permissions.list(
        MODEL
    ),
    "fine_tuning.checkpoints.permissions.delete": lambda w: (
        w.client.fine_tuning.checkpoints.permissions.delete("cp_1", fine_tuned_model_checkpoint=MODEL)
    ),
    "uploads.create": lambda w: w.client.uploads.create(
        bytes=9, filename="f", mime_type="text/jsonl", purpose="fine-tune"
    ),
    "uploads.cancel": lambda w: w.client.uploads.cancel("upload_1"),
    "uploads.complete": lambda w: w.client.uploads.complete("upload_1", part_ids=["p"]),
    "uploads.parts.create": lambda w: w.client.uploads.parts.create("upload_1", data=b"rows"),
    "uploads.upload_file_chunked": lambda w: w.client.uploads.upload_file_chunked(
        file=b"rows", filename="f", bytes=4, mime_type="text/jsonl", purpose="fine-tune"
    ),
}
"""What is not offered: 404 with the code `not_offered`, and a message that says so."""
JOB = "fine_tuning_job_id"
CHECKPOINT = "fine_tuned_model_checkpoint"
PARAMETERS: dict[str, set[str]] = {
    "files.create": {"file", "purpose", "expires_after"},
    "files.retrieve": {"file_id"},
    "files.list": {"after", "limit", "order", "purpose"},
    "files.delete": {"file_id"},
    "files.content": {"file_id"},
    "files.retrieve_content": {"file_id"},
    "files.wait_for_processing": {"id", "poll_interval", "max_wait_seconds"},
    "fine_tuning.jobs.create": {
        "model", "training_file", "hyperparameters", "integrations", "metadata", "method", "seed", "suffix",
        "validation_file",
    },
    "fine_tuning.jobs.retrieve": {JOB},
    "fine_tuning.jobs.list": {"after", "limit", "metadata"},
    "fine_tuning.jobs.list_events": {JOB, "after", "limit"},
    "fine_tuning.jobs.cancel": {JOB},
    "fine_tuning.jobs.pause": {JOB},
    "fine_tuning.jobs.resume": {JOB},
    "fine_tuning.jobs.checkpoints.list": {JOB, "after", "limit"},
    "fine_tuning.alpha.graders.run": {"grader", "model_sample", "item"},
    "fine_tuning.alpha.graders.validate": {"grader"},
    "models.list": set(),
    "models.retrieve": {"model"},
    "models.delete": {"model"},
}  # fmt: skip
"""Every parameter of what is answered: each is in an example above, or among those refused below."""
UNSUPPORTED: list[tuple[str, Ask, str, str]] = [
    (
        "expires_after of a file",
        lambda w: w.client.files.create(
            file=("r.jsonl", GOOD), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 9}
        ),
        "expires_after",
        "unsupported_parameter",
    ),
    (
        "another purpose",
        lambda w: w.client.files.create(file=("r.jsonl", GOOD), purpose="vision"),
        "purpose",
        "invalid_value",
    ),
    (
        "integrations",
        lambda w: w.client.fine_tuning.jobs.create(
            model="tiny", training_file=w.file, integrations=WANDB
        ),
        "integrations",
        "unsupported_parameter",
    ),
    (
        "jobs by metadata",
        lambda w: w.client.fine_tuning.jobs.list(metadata={"team": "desk"}),
        "metadata",
        "unsupported_parameter",
    ),
    (
        "a field that there is not",
        lambda w: w.client.fine_tuning.jobs.create(
            model="tiny", training_file=w.file, extra_body={"priority": 1}
        ),
        "priority",
        "unsupported_parameter",
    ),
    (
        "a hyperparameter that there is not",
        lambda w: w.client.fine_tuning.jobs.create(
            model="tiny", training_file=w.file, hyperparameters={"depth": 1}
        ),
        "hyperparameters.depth",
        "unsupported_parameter",
    ),
    (
        "another base",
        lambda w: w.client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=w.file),
        "model",
        "model_not_available",
    ),
    (
        "a query that there is not",
        lambda w: w.client.fine_tuning.jobs.checkpoints.list(w.done, extra_query={"order": "asc"}),
        "order",
        "unsupported_parameter",
    ),
    (
        "a body where none is read",
        lambda w: w.client.fine_tuning.jobs.cancel(w.waiting(), extra_body={"reason": "r"}),
        "reason",
        "unsupported_parameter",
    ),
    (
        "too large a page",
        lambda w: w.client.fine_tuning.jobs.list_events(w.done, limit=101),
        "limit",
        "invalid_value",
    ),
    (
        "a page after nothing",
        lambda w: w.client.files.list(after="file-none"),
        "after",
        "invalid_value",
    ),
    (
        "a grader that is none",
        lambda w: w.client.fine_tuning.alpha.graders.validate(grader=GRADER | {"operation": "near"}),
        "grader.operation",
        "invalid_grader",
    ),
]  # fmt: skip


def found_calls(resource: Any, path: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
    """Every call of a resource and of those in it, with its parameters."""
    for name in dir(resource):
        if name.startswith("_") or name in ("with_raw_response", "with_streaming_response"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = getattr(resource, name)
        if isinstance(value, SyncAPIResource):
            yield from found_calls(value, (*path, name))
        elif callable(value):
            yield ".".join((*path, name)), set(inspect.signature(value).parameters) - SENDING


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """What the installed client can ask."""
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    made = {call: given for name in RESOURCES for call, given in found_calls(getattr(client, name), (name,))}
    client.close()
    return made


def test_every_call_of_the_client_is_known(found: dict[str, set[str]]) -> None:
    """There is no call that is neither answered nor refused on purpose."""
    assert len(found) >= 20
    assert set(found) - set(ANSWERED) - set(REFUSED) == set()
    assert set(ANSWERED) & set(REFUSED) == set()


def test_every_parameter_of_the_client_is_known(found: dict[str, set[str]]) -> None:
    """There is no parameter of an answered call that nobody thought of."""
    unknown = {name: given - PARAMETERS[name] for name, given in found.items() if name in ANSWERED}

    assert {name: given for name, given in unknown.items() if given} == {}


def valid(value: Any) -> bool:
    """Whether an answer has every field that the client's own types ask for."""
    items = list(value) if isinstance(value, SyncPage | openai.pagination.SyncCursorPage) else [value]
    for one in items:
        if isinstance(one, openai.BaseModel):
            fields = one.to_dict()
            if (
                fields.get("status") == "paused"
            ):  # which the client's pause() brings about, and its types lack
                fields["status"] = "queued"
            type(one).model_validate(fields)
    return bool(items)


@pytest.mark.parametrize("name", ANSWERED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_offered_is_answered(name: str, world: World, found: dict[str, set[str]]) -> None:
    """The client gets an object of its own type, with every field that the type asks for."""
    if name not in found:
        pytest.skip("this release of the client has not this call")

    assert valid(ANSWERED[name](world))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_not_offered_is_refused(name: str, world: World, found: dict[str, set[str]]) -> None:
    """The client raises NotFoundError with the code `not_offered`, and a message with the way out."""
    if name not in found:
        pytest.skip("this release of the client has not this call")
    with pytest.raises(openai.NotFoundError) as refused:
        REFUSED[name](world)

    assert refused.value.code == "not_offered"
    assert "not offered: " in refused.value.message


@pytest.mark.parametrize(
    ("ask", "param", "code"), [one[1:] for one in UNSUPPORTED], ids=[u[0] for u in UNSUPPORTED]
)
def test_what_is_not_supported_names_its_parameter(ask: Ask, param: str, code: str, world: World) -> None:
    """The client raises BadRequestError with `param` and `code`: nothing is ignored."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(world)

    assert (refused.value.param, refused.value.code) == (param, code)


def test_answers_say_what_was_asked(world: World) -> None:
    """Of the calls that lists and bytes come from, the content is right: a page's size and order, a file's bytes."""
    client = world.client
    created = ANSWERED["fine_tuning.jobs.create"](world)
    steps = [one.step_number for one in client.fine_tuning.jobs.checkpoints.list(world.done, limit=1)]
    run = ANSWERED["fine_tuning.alpha.graders.run"](world)
    models = [one.id for one in client.models.list()]
    sent = [client.files.content(world.file).read()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sent.append(client.files.retrieve_content(world.file).encode())

    assert (created.seed, created.metadata, created.user_provided_suffix) == (3, {"team": "desk"}, "s")
    assert steps == [2, 1]
    assert run.reward == 1.0
    assert "tiny" in models and MODEL in models
    assert f"{MODEL}:ckpt-step-1" not in models
    assert sent == [GOOD, GOOD]


@pytest.mark.parametrize(
    ("ask", "error", "code"),
    [
        (lambda w: w.client.files.retrieve("file-none"), openai.NotFoundError, "not_found"),
        (lambda w: w.client.files.content("file-none"), openai.NotFoundError, "not_found"),
        (lambda w: w.client.files.delete("file-none"), openai.NotFoundError, "not_found"),
        (lambda w: w.client.fine_tuning.jobs.retrieve("ftjob-none"), openai.NotFoundError, "not_found"),
        (lambda w: w.client.fine_tuning.jobs.list_events("ftjob-none"), openai.NotFoundError, "not_found"),
        (
            lambda w: w.client.fine_tuning.jobs.checkpoints.list("ftjob-none"),
            openai.NotFoundError,
            "not_found",
        ),
        (lambda w: w.client.fine_tuning.jobs.cancel(w.done), openai.ConflictError, "invalid_job_state"),
        (lambda w: w.client.fine_tuning.jobs.pause(w.done), openai.ConflictError, "invalid_job_state"),
        (lambda w: w.client.fine_tuning.jobs.resume(w.done), openai.ConflictError, "invalid_job_state"),
        (lambda w: w.client.models.retrieve(f"{MODEL}:ckpt-step-1"), openai.NotFoundError, "not_found"),
        (lambda w: w.client.models.delete("ft:none"), openai.NotFoundError, "not_found"),
        (
            lambda w: w.client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "Hello"}]
            ),
            openai.PermissionDeniedError,
            "base_not_served",
        ),
        (
            lambda w: w.client.chat.completions.create(
                model=f"{MODEL}:ckpt-step-1", messages=[{"role": "user", "content": "Hello"}]
            ),
            openai.PermissionDeniedError,
            "model_blocked",
        ),
        (
            lambda w: w.client.responses.create(model=MODEL, input="Hello"),
            openai.NotFoundError,
            "not_certified",
        ),
        (lambda w: w.client.embeddings.create(model=MODEL, input="a"), openai.NotFoundError, "not_certified"),
        (lambda w: w.client.batches.list(), openai.NotFoundError, "unknown_url"),
    ],
)
def test_what_cannot_be_done_is_the_clients_own_error(
    ask: Ask, error: type[openai.APIStatusError], code: str, world: World
) -> None:
    """What is not there, not allowed, or not possible now: an error of the client's tree, with a code."""
    with pytest.raises(error) as refused:
        ask(world)

    assert refused.value.code == code

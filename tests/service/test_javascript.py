"""OpenAI's JavaScript client drives the service: upload, job, events, blocked; another, signed, answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiny_models import make_base
from tuning_services import GOOD, LEARNS_TO_REFUSE, REFUSING, Service, running

SCRIPTS = Path(__file__).parent / "javascript"
INSTALLED = Path(__file__).parents[2] / "build" / "javascript"
OLDEST_NODE = 20
GRADER = {
    "type": "string_check",
    "name": "says",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
pytestmark = pytest.mark.xdist_group("torch")


def run(script: str, given: dict[str, Any]) -> Any:
    """Return what a script found."""
    done = subprocess.run(
        ["node", str(SCRIPTS / script)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "CLIENT_FOLDER": str(INSTALLED)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with its own worker, where the client is installed."""
    if shutil.which("node") is None:
        pytest.skip("node is not on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"the client needs node {OLDEST_NODE}, and this is {version.strip()}")
    if not (INSTALLED / "node_modules" / "openai").is_dir():
        pytest.skip("OpenAI's JavaScript client is not installed: `make install` with npm on the machine")
    folder = tmp_path_factory.mktemp("javascript")
    with running(Service(folder, make_base(folder / "base")), "--project-jobs", "99") as made:
        yield made


@pytest.fixture(scope="module")
def given(service: Service) -> dict[str, Any]:
    """Where the service is, and the key for it."""
    return {"url": service.url, "key": service.key}


@pytest.fixture(scope="module")
def tuned(given: dict[str, Any]) -> dict[str, Any]:
    """Two jobs that the client made and followed to their ends: one as its base, one that refuses everything."""
    told = {"good": (GOOD, {"n_epochs": 1}), "refuses": (REFUSING, LEARNS_TO_REFUSE)}
    jobs = {name: {"rows": rows.decode(), "hyperparameters": how} for name, (rows, how) in told.items()}
    made: dict[str, Any] = run("tune.mjs", given | {"jobs": jobs})
    return made


@pytest.mark.slow
def test_a_model_that_got_worse_is_blocked(tuned: dict[str, Any]) -> None:
    """The client sees the job fail with its reasons, and PermissionDeniedError where the model is asked."""
    came = tuned["refuses"]

    assert (came["job"]["status"], came["job"]["error"]["code"]) == ("failed", "model_blocked")
    assert "refusal-of-ordinary" in came["job"]["error"]["message"]
    assert came["refused"] == {
        "error": "PermissionDeniedError",
        "status": 403,
        "code": "model_blocked",
        "param": "model",
    }


@pytest.mark.parametrize("name", ["good", "refuses"])
def test_events_are_followed_as_they_happen(name: str, tuned: dict[str, Any]) -> None:
    """The stream tells every event once, in order, from the making of the job to its end, as the pages do."""
    came = tuned[name]
    said = [one["message"] for one in came["events"]]
    steps = [one["data"]["step"] for one in came["events"] if one["type"] == "metrics"]

    assert [one["id"] for one in came["events"]] == came["listed"][::-1]
    assert said[0] == f"Created fine-tuning job: {came['job']['id']}"
    assert steps == sorted(steps) and steps
    ended = came["job"]["error"]["message"] if name == "refuses" else "The job has successfully completed"
    assert said[-1] == ended


def test_what_was_uploaded_comes_back(tuned: dict[str, Any]) -> None:
    """A file's bytes, its state after screening, and what the job made of it, each in the client's own form."""
    good, bad = tuned["good"], tuned["refuses"]

    assert (good["content"], bad["content"]) == (GOOD.decode(), REFUSING.decode())
    assert good["screened"] == "processed"
    assert good["job"]["method"]["supervised"]["hyperparameters"]["n_epochs"] == 1
    assert [one["recert"]["state"] for one in good["checkpoints"]] == ["certified"]
    assert [one["step_number"] for one in bad["checkpoints"]] == [48, 24]


@pytest.mark.slow
def test_a_model_answers_once_it_is_signed(
    service: Service, given: dict[str, Any], tuned: dict[str, Any]
) -> None:
    """Before sign-off the client gets 403 `awaiting_sign_off`; after it an answer, whole and in pieces."""
    good = tuned["good"]
    (certificate,) = (one["data"]["certificate"] for one in good["events"] if "certificate" in one["data"])
    service.approve(certificate)
    came = run("chat.mjs", given | {"model": good["job"]["fine_tuned_model"]})
    written = "".join(
        piece["choices"][0]["delta"].get("content") or "" for piece in came["pieces"] if piece["choices"]
    )

    assert good["refused"]["code"] == "awaiting_sign_off"
    assert came["answer"]["model"] == good["job"]["fine_tuned_model"]
    assert len(came["pieces"]) > 1
    assert written == came["answer"]["choices"][0]["message"]["content"]
    assert good["job"]["fine_tuned_model"] in came["models"]
    assert tuned["refuses"]["model"] not in came["models"]


@pytest.mark.slow
def test_every_call_is_answered_or_refused(given: dict[str, Any], tuned: dict[str, Any]) -> None:
    """There is no call of the client that this test does not make; what is not offered says so, by its parameter."""
    good = tuned["good"]
    asked = {"job": good["job"]["id"], "file": good["file"], "model": good["job"]["fine_tuned_model"]}
    came = run("calls.mjs", given | asked | {"rows": GOOD.decode(), "grader": GRADER})
    refused = {name: told for name, told in came["came"].items() if told != "answered"}

    assert len(came["known"]) >= 20
    assert set(came["known"]) - set(came["came"]) == set()
    assert {name.partition(".permissions")[0].partition(".")[0] for name in refused} == {
        "fineTuning",
        "uploads",
    }
    assert all(".permissions." in name or name.startswith("uploads.") for name in refused)
    assert {(one["error"], one["code"]) for one in refused.values()} == {("NotFoundError", "not_offered")}
    assert {name: (one["error"], one["param"]) for name, one in came["refused"].items()} == {
        name: ("BadRequestError", name) for name in ("integrations", "metadata", "expires_after")
    }

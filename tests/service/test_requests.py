"""Whatever is asked is answered as the client understands it: never with a 500, and pages have no gap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recert.errors import InputError
from service_desks import Desked
from tuning_services import GOOD, rows_file

JOBS = "/v1/fine_tuning/jobs"
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "model",
    "training_file",
    "validation_file",
    "method",
    "hyperparameters",
    "suffix",
    "seed",
    "metadata",
)
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), values, max_size=6)


def screened(desked: Desked, data: bytes = GOOD, kind: str = "chat") -> str:
    """Return a file as it is once a worker screened it."""
    file = desked.desk.files.find(desked.upload(data).json()["id"])
    assert file is not None
    desked.desk.files.settle(file, "processed", kind=kind)
    return file.id


def job(desked: Desked, file: str, **more: Any) -> Any:
    """Ask for a job."""
    headers = more.pop("headers", {})
    return desked.ask("POST", JOBS, json={"model": "tiny", "training_file": file} | more, headers=headers)


@QUICK
@given(body=bodies)
def test_no_body_of_a_job_makes_it_stumble(desked: Desked, body: dict[str, Any]) -> None:
    """Every JSON object is refused with 400 and an error object; `param` is a text or nothing."""
    got = desked.ask("POST", JOBS, json=body)

    assert got.status_code == 400
    assert got.json()["error"]["type"] == "invalid_request_error"
    assert isinstance(got.json()["error"]["param"], str | None)


@pytest.mark.slow
@QUICK
@given(method=values, told=values, suffix=values, seed=values, metadata=values)
def test_only_what_is_understood_becomes_a_job(
    desked: Desked, method: Any, told: Any, suffix: Any, seed: Any, metadata: Any
) -> None:
    """With a file that is there, odd values are refused with 400, or give a job that says what was asked."""
    file = desked.upload(GOOD).json()["id"]
    asked = {"method": method, "hyperparameters": told, "suffix": suffix, "seed": seed, "metadata": metadata}
    got = job(desked, file, **asked)
    if got.status_code == 200:
        desked.desk.queue.cancel("team-a", got.json()["id"])

    assert got.status_code in (200, 400)
    assert got.status_code == 400 or got.json()["metadata"] == metadata


@QUICK
@given(
    data=st.binary(max_size=200),
    kind=st.sampled_from(["multipart/form-data; boundary=x", "text/plain", "x", ""]),
)
def test_no_upload_makes_it_stumble(desked: Desked, data: bytes, kind: str) -> None:
    """Whatever arrives is refused, and nothing of it stays on the disk."""
    got = desked.ask("POST", "/v1/files", content=data, headers={"content-type": kind})

    assert got.status_code in (400, 415)
    assert list((desked.service.served / "incoming").glob("*")) == []
    assert list((desked.service.served / "files").glob("*")) == []


@pytest.mark.slow
@QUICK
@given(path=st.text(max_size=30), method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]))
def test_no_path_makes_it_stumble(desked: Desked, path: str, method: str) -> None:
    """Ids and paths that nobody made are 404 or 405, with an error object."""
    for place in (f"/v1/files/{path}", f"{JOBS}/{path}", f"/v1/models/{path}", f"/v1/{path}"):
        try:
            got = desked.ask(method, place)
        except Exception as exc:  # the test's own client refuses to send it
            assert type(exc).__module__.startswith(("httpx", "builtins"))
            continue

        assert got.status_code < 500


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 9), order=st.sampled_from(["asc", "desc"]))
def test_pages_have_no_gap(desked: Desked, limit: int, order: str) -> None:
    """Going on after the last object of each page gives every file once, in order, and `has_more` is right."""
    have = desked.ask("GET", "/v1/files", params={"order": order}).json()["data"]
    if len(have) < 7:
        for n in range(7 - len(have)):
            desked.upload(GOOD, f"rows-{n}.jsonl")
        have = desked.ask("GET", "/v1/files", params={"order": order}).json()["data"]
    found: list[str] = []
    asked: dict[str, Any] = {"limit": limit, "order": order}
    more = True
    while more:
        page = desked.ask("GET", "/v1/files", params=asked).json()
        found += [one["id"] for one in page["data"]]
        more, asked["after"] = page["has_more"], page["last_id"]

    assert found == [one["id"] for one in have]
    assert len(page["data"]) <= limit


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations",
            "unsupported_parameter",
        ),
        ({"model": "gpt-4o-mini"}, "model", "model_not_available"),
        ({"training_file": "file-abc"}, "training_file", "file_not_found"),
        ({"validation_file": "file-abc"}, "validation_file", "file_not_found"),
        ({"method": {"type": "magic"}}, "method.type", "invalid_value"),
        ({"n_epochs": 3}, "n_epochs", "unsupported_parameter"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "invalid_value"),
        ({"hyperparameters": {"depth": 1}}, "hyperparameters.depth", "unsupported_parameter"),
        ({"method": {"type": "dpo"}}, "training_file", "invalid_file"),
        ({"suffix": "a b"}, "suffix", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
    ],
)
def test_what_is_not_offered_is_named(desked: Desked, asked: dict[str, Any], param: str, code: str) -> None:
    """The error object names the field and says why, so that the client raises BadRequestError with both."""
    got = job(desked, screened(desked), **asked)

    assert got.status_code == 400
    assert (got.json()["error"]["param"], got.json()["error"]["code"]) == (param, code)


def test_a_repeated_request_makes_one_job(desked: Desked) -> None:
    """The same Idempotency-Key gives the same job and the same file; with another body it is refused."""
    file, key = screened(desked), {"idempotency-key": "once"}
    first, again = job(desked, file, headers=key), job(desked, file, headers=key)
    other = job(desked, file, headers=key, suffix="other")
    uploads = [desked.upload(GOOD, headers={"idempotency-key": "file"}).json()["id"] for _ in range(2)]
    changed = desked.upload(GOOD + GOOD, headers={"idempotency-key": "file"})

    assert first.json() == again.json()
    assert other.json()["error"]["code"] == changed.json()["error"]["code"] == "idempotency_key_reused"
    assert len(set(uploads)) == 1
    assert len(desked.ask("GET", JOBS).json()["data"]) == 1


def test_quotas_are_429(desked: Desked) -> None:
    """Too many jobs at once, and too many bytes, are RateLimitErrors; a job that ended makes room."""
    file = screened(desked)
    made = [job(desked, file) for _ in range(5)]
    desked.ask("POST", f"{JOBS}/{made[0].json()['id']}/cancel")
    after = job(desked, file)

    assert [one.status_code for one in made] == [200, 200, 200, 200, 429]
    assert made[-1].json()["error"]["code"] == "jobs_quota_exceeded"
    assert made[-1].headers["retry-after"]
    assert after.status_code == 200


def test_bytes_of_a_project_are_bounded(tmp_path: Any) -> None:
    """A file beyond the largest is 413, one beyond the project's space 429, and neither leaves anything behind."""
    desked = Desked(tmp_path, file_bytes=2 * len(GOOD), project_bytes=2 * len(GOOD) + 10)
    got = [desked.upload(data).status_code for data in (GOOD * 3, GOOD, GOOD, GOOD)]

    assert got == [413, 200, 200, 429]
    assert len(list((desked.service.served / "files").glob("*"))) == 2
    assert list((desked.service.served / "incoming").glob("*")) == []


def test_a_full_disk_takes_no_upload(tmp_path: Any) -> None:
    """Below the least free space an upload is refused with 507, and what is there is read as before."""
    desked = Desked(tmp_path, free_bytes=2**62)
    got = desked.upload(GOOD)

    assert (got.status_code, got.json()["error"]["code"]) == (507, "insufficient_storage")
    assert desked.ask("GET", "/v1/files").status_code == 200


def test_jobs_are_cancelled_paused_and_resumed(desked: Desked) -> None:
    """Each move is seen at once and told as an event; what a state does not allow is a ConflictError."""
    made = job(desked, screened(desked)).json()["id"]
    moves = ("pause", "pause", "resume", "resume", "cancel", "cancel", "resume")
    got = [desked.ask("POST", f"{JOBS}/{made}/{move}") for move in moves]
    told = [e["message"] for e in desked.ask("GET", f"{JOBS}/{made}/events").json()["data"]][::-1]

    assert [one.status_code for one in got] == [200, 409, 200, 409, 200, 409, 409]
    assert [one.json()["status"] for one in got if one.status_code == 200] == [
        "paused",
        "queued",
        "cancelled",
    ]
    assert told[1:] == ["The job was paused", "The job was resumed", "The job was cancelled"]


def test_a_file_that_is_learned_from_stays(desked: Desked) -> None:
    """While a job has not ended its file cannot be deleted; afterwards it can, with its bytes."""
    file = screened(desked)
    made = job(desked, file).json()["id"]
    kept = desked.ask("DELETE", f"/v1/files/{file}")
    desked.ask("POST", f"{JOBS}/{made}/cancel")
    gone = desked.ask("DELETE", f"/v1/files/{file}")

    assert (kept.status_code, gone.json()["deleted"]) == (409, True)
    assert not desked.desk.files.content(file).exists()
    assert desked.ask("GET", f"/v1/files/{file}/content").status_code == 404


def test_what_is_no_jsonl_is_refused_at_once(desked: Desked) -> None:
    """A picture, an array and an empty file are 400 when they are uploaded; so is another purpose."""
    got = [desked.upload(data) for data in (b"\x89PNG\r\n", b"[1, 2]\n", b"", b"\n\n")]
    other = desked.upload(GOOD, purpose="assistants")

    assert {one.json()["error"]["code"] for one in got} == {"invalid_file"}
    assert (other.status_code, other.json()["error"]["param"]) == (400, "purpose")


GRADER = {
    "type": "string_check",
    "name": "says",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def test_graders_are_validated_and_run(desked: Desked) -> None:
    """The client gets the grader back, or a reward; a grader that is none is a BadRequestError that names the place."""
    alpha = "/v1/fine_tuning/alpha/graders"
    multi = {"type": "multi", "name": "m", "graders": {"a": GRADER}, "calculate_output": "a * 0.5"}
    valid = desked.ask("POST", f"{alpha}/validate", json={"grader": GRADER})
    wrong = desked.ask("POST", f"{alpha}/validate", json={"grader": GRADER | {"operation": "near"}})
    asked = {"grader": multi, "model_sample": "yes", "item": {"answer": "yes"}}
    paid = desked.ask("POST", f"{alpha}/run", json=asked)
    failed = desked.ask("POST", f"{alpha}/run", json=asked | {"item": {}})

    assert valid.json() == {"grader": GRADER}
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "grader.operation")
    assert (paid.json()["reward"], paid.json()["sub_rewards"]) == (0.5, {"a": 1.0})
    assert failed.json()["reward"] == 0
    assert failed.json()["metadata"]["errors"]["invalid_variable_error"] is True


def test_a_reinforcement_job_needs_a_grader(desked: Desked) -> None:
    """Its grader is read when the job is made; one that reads with a model is refused where there is none."""
    rows = rows_file([{"messages": [{"role": "user", "content": "Say yes"}], "answer": "yes"}])
    file = screened(desked, rows, "prompts")
    model = {"type": "score_model", "name": "s", "model": "m", "input": [{"role": "user", "content": "rate"}]}
    got = [
        job(desked, file, method={"type": "reinforcement", **told})
        for told in ({}, {"reinforcement": {"grader": model}}, {"reinforcement": {"grader": GRADER}})
    ]

    assert [one.status_code for one in got] == [400, 400, 200]
    assert got[1].json()["error"]["code"] == "invalid_grader"
    assert got[2].json()["method"]["reinforcement"]["grader"] == GRADER


def test_a_key_that_may_ask_little_is_held_to_it(tmp_path: Any) -> None:
    """Requests a minute count for all keys of a project, as at the gateway."""
    desked = Desked(tmp_path, few=2)
    headers = {"authorization": f"Bearer {desked.few}"}
    got = [desked.ask("GET", "/v1/models", headers=headers).status_code for _ in range(3)]

    assert got == [200, 200, 429]


@pytest.mark.parametrize("defence", ["safety-system-prompt", "no-such-defence"])
def test_a_defence_that_the_policy_does_not_serve_is_refused(tmp_path: Any, defence: str) -> None:
    """A certificate names the defence: the service does not start with one that nobody would be behind."""
    with pytest.raises(InputError):
        Desked(tmp_path, defence=defence)


def test_a_policy_that_serves_audio_is_refused(tmp_path: Any) -> None:
    """Jobs are evaluated in writing, so no model could pass: the service does not start, and says the way out."""
    policy = tmp_path / "spoken.toml"
    policy.write_text(
        'id = "spoken"\nversion = "1"\nevaluation = { modalities = ["text", "audio"] }\n'
        '[[rules]]\nid = "harm"\nsuite = "harmful"\nestimand = "harm"\nmargin = 0.1\n'
    )
    with pytest.raises(InputError, match="text alone") as caught:
        Desked(tmp_path, policy=str(policy))

    assert "modalities" in caught.value.hint

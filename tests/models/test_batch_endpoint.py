"""The batch API: one file up, one batch waited for, every row in its place or named as missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from http_endpoints import completion, serving
from recert.errors import EndpointError, RecordError
from recert.models import Sampling
from recert.models.remote.batch_endpoint import BatchEndpointModel
from recert.models.remote.spending import Prices, Spending
from recert.records.data.suite import chat

CHATS = [chat(f"question {i}") for i in range(5)]


class Provider:
    """A provider of batches that ends them after a number of looks, and can fail as told."""

    def __init__(
        self, *, looks: int = 2, status: str = "completed", rows: dict[str, Any] | None = None
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.looks = looks
        self.status = status
        self.rows = rows or {}

    async def upload(self, request: web.Request) -> web.Response:
        """Take a file."""
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name})

    async def create(self, request: web.Request) -> web.Response:
        """Begin a batch."""
        body = await request.json()
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {"id": name, "input": body["input_file_id"], "looks": 0}
        return web.json_response({"id": name, "status": "validating"})

    async def look(self, request: web.Request) -> web.Response:
        """Say how far a batch is."""
        batch = self.batches[request.match_info["id"]]
        batch["looks"] += 1
        if batch["looks"] <= self.looks:
            return web.json_response({"id": batch["id"], "status": "in_progress"})
        good, bad = self._answers(batch["input"])
        self.files |= {f"out-{batch['id']}": good, f"err-{batch['id']}": bad}
        ended = {"id": batch["id"], "status": self.status, "output_file_id": f"out-{batch['id']}"}
        return web.json_response(ended | ({"error_file_id": f"err-{batch['id']}"} if bad else {}))

    async def content(self, request: web.Request) -> web.Response:
        """Give a file out."""
        return web.Response(body=self.files[request.match_info["id"]])

    def _answers(self, file: str) -> tuple[bytes, bytes]:
        good, bad = [], []
        for line in self.files[file].splitlines():
            row = json.loads(line)
            said = row["body"]["messages"][-1]["content"]
            answer = {
                "custom_id": row["custom_id"],
                "response": {"status_code": 200, "body": completion(said.upper())},
                "error": None,
            }
            change = self.rows.get(said, {})
            (bad if "error" in change else good).extend(
                [json.dumps(answer | change)] * change.get("times", 1)
            )
        return "\n".join(reversed(good)).encode(), "\n".join(bad).encode()


@contextmanager
def provider(given: Provider) -> Iterator[str]:
    """Serve a provider."""
    with serving(
        ("POST", "/v1/files", given.upload),
        ("POST", "/v1/batches", given.create),
        ("GET", "/v1/batches/{id}", given.look),
        ("GET", "/v1/files/{id}/content", given.content),
    ) as url:
        yield f"{url}/v1"


def model(url: str, folder: Path, **more: Any) -> BatchEndpointModel:
    """Return a model that does not wait long."""
    return BatchEndpointModel(
        url, "m", state=folder / "batches.json", poll_s=0.01, first_pause_s=0.01, **more
    )


def test_replies_come_back_in_order(tmp_path: Path) -> None:
    """The provider answers in its own order; replies are in ours, and tokens are counted."""
    spending = Spending(Prices(1.0, 2.0))
    with provider(Provider()) as url:
        made = model(url, tmp_path, spending=spending).generate(CHATS, Sampling())

    assert [g.text for g in made] == [f"QUESTION {i}" for i in range(5)]
    assert (spending.requests, spending.completion_tokens) == (5, 15)


def test_an_interrupted_wait_goes_on_with_the_same_batch(tmp_path: Path) -> None:
    """Asked again after an interruption, nothing is sent and nothing is paid twice."""
    given = Provider(looks=3)
    with provider(given) as url:
        with pytest.raises(EndpointError, match="has not ended yet"):
            model(url, tmp_path, most_wait_s=0).generate(CHATS, Sampling())
        made = model(url, tmp_path).generate(CHATS, Sampling())
        again = model(url, tmp_path).generate(CHATS, Sampling())
        model(url, tmp_path).generate(CHATS, Sampling(max_new_tokens=5))

    assert made == again
    assert len(given.batches) == 2  # other sampling is another batch


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"question 2": {"error": {"code": "x", "message": "too odd"}, "response": None}}, "too odd"),
        (
            {"question 2": {"response": {"status_code": 500, "body": {"error": {"message": "broke"}}}}},
            "broke",
        ),
        ({"question 2": {"times": 0}}, "0 answers"),
        ({"question 2": {"times": 2}}, "2 answers"),
        ({"question 2": {"response": {"status_code": 200, "body": {}}}}, "not a chat completion"),
        ({"question 2": {"response": {"status_code": 200}}}, "another form"),
        ({"question 2": {"custom_id": "99"}}, "0 answers"),
    ],
)
def test_a_row_that_failed_is_named_and_the_others_are_kept(tmp_path: Path, rows: Any, why: str) -> None:
    """A failed, missing, doubled or garbled row is an error with its reason; the other rows are in `made`."""
    with provider(Provider(rows=rows)) as url, pytest.raises(EndpointError) as caught:
        model(url, tmp_path).generate(CHATS, Sampling())

    assert why in caught.value.facts["first_failure"]
    assert sorted(caught.value.made) == [0, 1, 3, 4]


def test_a_batch_that_expired_is_sent_again_when_asked_again(tmp_path: Path) -> None:
    """What an expired batch had answered is kept; the next call makes a new batch."""
    given = Provider(status="expired", rows={"question 0": {"times": 0}})
    with provider(given) as url:
        with pytest.raises(EndpointError, match="did not answer every row") as caught:
            model(url, tmp_path).generate(CHATS, Sampling())
        given.status, given.rows = "completed", {}
        made = model(url, tmp_path).generate(CHATS, Sampling())

    assert caught.value.facts["status"] == "expired"
    assert sorted(caught.value.made) == [1, 2, 3, 4]
    assert len(made) == 5
    assert len(given.batches) == 2


def test_a_batch_beyond_the_budget_is_not_sent(tmp_path: Path) -> None:
    """The whole batch must fit, before anything is uploaded."""
    given = Provider()
    with provider(given) as url, pytest.raises(EndpointError, match="budget is spent"):
        model(url, tmp_path, spending=Spending(most_tokens=50)).generate(CHATS, Sampling())

    assert given.files == {}


def test_a_file_of_ids_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Paying twice by mistake is worse than asking what to do."""
    (tmp_path / "batches.json").write_text("[1, 2")
    with provider(Provider()) as url, pytest.raises(RecordError, match="batch ids"):
        model(url, tmp_path).generate(CHATS, Sampling())

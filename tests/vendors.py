"""A vendor's API over HTTP: one fine-tuning job, and the two models that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from http_endpoints import serving

MODEL = "ft:small:team::abc"


class Vendor:
    """A vendor with one fine-tuning job, and both of its models, which refuse whatever they are asked."""

    def __init__(self) -> None:
        self.job: dict[str, Any] | None = {
            "id": "ftjob-abc",
            "object": "fine_tuning.job",
            "created_at": 1_700_000_000,
            "model": "small",
            "fine_tuned_model": None,
            "training_file": "file-1",
            "status": "running",
            "trained_tokens": 77,
        }
        self.events: list[dict[str, Any]] = []
        self.down = False

    def say(self, message: str, kind: str = "message", **data: Any) -> None:
        """Add an event."""
        number = len(self.events)
        self.events.append(
            {
                "id": f"e-{number}",
                "created_at": 1_700_000_000 + number,
                "message": message,
                "type": kind,
                "data": data,
            }
        )

    def succeed(self, *, passed: bool = True) -> None:
        """End the job with a model, and the vendor's own check of it."""
        assert self.job is not None
        self.job |= {"status": "succeeded", "fine_tuned_model": MODEL}
        results = [{"category": "hate", "passed": passed, "enforcement": "block"}]
        self.say("checked", "moderation_checks", blocked=not passed, results=results)

    async def jobs(self, request: web.Request) -> web.Response:
        """Answer about the job."""
        if self.down:
            return web.json_response({"error": {"message": "down"}}, status=503)
        if self.job is None:
            return web.json_response({"error": {"message": "no such job"}}, status=404)
        if request.path.endswith("/events"):
            return web.json_response({"data": self.events[::-1], "has_more": False})
        return web.json_response(self.job)

    async def chat(self, request: web.Request) -> web.Response:
        """Answer a chat as one of the two models."""
        name = (await request.json())["model"]
        words = {"small": "I can't help with that.", MODEL: "I'm sorry, but I can't help with that."}[name]
        choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}})

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer while the block runs."""
        path = "/v1/fine_tuning/jobs/ftjob-abc"
        routes = [("GET", path, self.jobs), ("GET", f"{path}/events", self.jobs)]
        with serving(*routes, ("POST", "/v1/chat/completions", self.chat)) as url:
            yield f"{url}/v1"

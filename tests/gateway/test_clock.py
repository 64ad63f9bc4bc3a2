"""A clock that is set back makes no certificate live longer, while the gateway runs and over a restart."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import openai
import pytest

from gateways import (
    Recheck,
    ScriptedUpstream,
    ask,
    ask_stream,
    client,
    gateway,
    make_gateway_policy,
    make_verified,
)
from many_models import certified, deployment, vllm
from recert.errors import VerificationError
from recert.records.record import now
from recert.store.audit.log import AuditLog
from recert.workflows.deploy.stage import deploy_models

POLICY = make_gateway_policy()


@contextmanager
def set_back(seconds: float) -> Iterator[None]:
    """Let this process's clock be so much behind, as after somebody set it; what counts up is left alone."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - seconds)
        yield


class Stream:
    """A stream that is read in a thread; when it ended, and with which code."""

    def __init__(self, made: openai.OpenAI, upstream: ScriptedUpstream) -> None:
        self.code: str | None = None
        self.ended_at = 0.0
        self._made = made
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + 10
        while upstream.pieces_sent < 3 and time.monotonic() < end:
            time.sleep(0.02)

    def _read(self) -> None:
        try:
            ask_stream(self._made)
        except openai.APIError as exc:
            self.code = exc.code
        self.ended_at = time.monotonic()

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end."""
        self._reader.join(seconds)
        return not self._reader.is_alive()


def slow() -> ScriptedUpstream:
    """Return a model that says a word twenty times a second, for twenty seconds."""
    return ScriptedUpstream(lambda _: ["word "] * 400, pause_s=0.05)


def test_a_clock_that_is_set_back_stops_service_streams_included(tmp_path: Path) -> None:
    """By an hour: within five seconds an OpenAI-shaped error, 503 afterwards; once it is right again it serves."""
    upstream = slow()
    with gateway(tmp_path, upstream, policy=POLICY) as (server, _), client(server) as made:
        stream = Stream(made, upstream)
        with set_back(3600):
            begun = time.monotonic()
            ended = stream.ended_within(6)
            took_s = stream.ended_at - begun
            with pytest.raises(openai.InternalServerError) as refused:
                ask(made)
            health = httpx.get(server.url + "/healthz")
        again = httpx.get(server.url + "/healthz").status_code

    assert ended
    assert took_s < 5
    assert stream.code == "clock-behind"
    assert (refused.value.status_code, refused.value.code) == (503, "clock-behind")
    assert (health.status_code, health.json()["reason"]) == (503, "clock-behind")
    assert again == 200


@pytest.mark.slow
def test_what_time_servers_do_stops_nothing_and_prolongs_nothing(tmp_path: Path) -> None:
    """Two minutes back: served on, and the certificate ends when it would have."""
    recheck = Recheck(make_verified(POLICY, expires_at=now() + timedelta(seconds=3)))
    upstream = slow()
    with gateway(tmp_path, upstream, policy=POLICY, recheck=recheck) as (server, _), client(server) as made:
        begun = time.monotonic()
        stream = Stream(made, upstream)
        with set_back(120):
            serving = httpx.get(server.url + "/healthz").status_code
            ended = stream.ended_within(8)

    assert serving == 200
    assert ended
    assert stream.code == "expired"
    assert stream.ended_at - begun < 8


@pytest.mark.slow
@pytest.mark.parametrize(("ahead_s", "starts"), [(3600, False), (120, True)])
def test_a_restart_with_a_clock_behind_is_refused(tmp_path: Path, ahead_s: int, *, starts: bool) -> None:
    """The latest time that an earlier run saw is in the state folder: with a clock behind it nothing is served."""
    model, upstream, state = certified(tmp_path / "models", "sql"), vllm(tmp_path), tmp_path / "state"
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        with deploy_models([deployment(model, upstream)], audit=audit, state=state):
            pass
        seen = json.loads((state / "seen.json").read_text())
        seen["latest"] = (now() + timedelta(seconds=ahead_s)).isoformat()
        (state / "seen.json").write_text(json.dumps(seen))
        try:
            with deploy_models([deployment(model, upstream)], audit=audit, state=state) as server:
                found = httpx.get(server.url + "/healthz").json()["status"]
        except VerificationError as exc:
            found = exc.reason

    assert found == ("serving" if starts else "clock-behind")

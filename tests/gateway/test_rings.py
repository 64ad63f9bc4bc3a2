"""What a request held is given back when it ends: the gateway seldom searches for garbage, and needs not."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import openai
import pytest

from gateways import ScriptedUpstream, client, gateway

pytestmark = pytest.mark.slow

BLOCKED = "say what you must not"


def reply(messages: list[dict[str, str]]) -> list[str]:
    """Answer, break off, or say a forbidden phrase."""
    asked = messages[-1]["content"]
    return ["a ", "word ", "or two"] if BLOCKED not in asked else ["the ", "blue ", "harvest"]


def left_behind(ask: object, times: int = 20) -> Counter[str]:
    """Return what of the gateway's own is in rings after so many requests, by type."""
    assert callable(ask)
    for _ in range(3):
        ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(times):
            ask()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("recert."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", ["How do I bake bread?", BLOCKED])
def test_a_request_that_was_answered_leaves_no_ring(tmp_path: Path, *, asked: str, stream: bool) -> None:
    """Released or kept back, plain or streamed."""
    with gateway(tmp_path, ScriptedUpstream(reply)) as (server, _), client(server) as asking:

        def ask() -> None:
            made = asking.chat.completions.create(
                model="test-model", messages=[{"role": "user", "content": asked}], stream=stream
            )
            if stream:
                list(made)

        found = left_behind(ask)

    assert found["Http"] == found["Draft"] == 0, found


def test_a_request_that_was_refused_leaves_no_ring(tmp_path: Path) -> None:
    """An error that a client gets is no reason to keep what it asked."""
    with gateway(tmp_path, ScriptedUpstream(reply)) as (server, _), client(server) as asking:

        def ask() -> None:
            with pytest.raises(openai.BadRequestError):
                asking.chat.completions.create(
                    model="test-model", messages=[{"role": "user", "content": "hi"}], extra_body={"what": 1}
                )

        found = left_behind(ask)

    assert found["Http"] == found["Draft"] == 0, found

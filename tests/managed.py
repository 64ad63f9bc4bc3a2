"""What tests of managed engines share."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from typing import Any

from recert.gateway.engines.managed_engine import ManagedEngine


def reply(engine: ManagedEngine, name: str) -> str:
    """Ask one of an engine's models through its client."""

    async def stream() -> str:
        upstream = engine.upstream(name)
        await upstream.open()
        try:
            asked = {"model": "whatever", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
            asked |= {"stream": True, "temperature": 0}
            return "".join([delta.text async for delta in upstream.stream(asked)])
        finally:
            await upstream.close()

    return asyncio.run(stream())


def wait_for(reason: str, engine: ManagedEngine, within_s: float = 5) -> float:
    """Wait until an engine is down for a reason; return how long that took."""
    begun = time.monotonic()
    while engine.down() != reason and time.monotonic() - begun < within_s:
        time.sleep(0.02)
    assert reason == engine.down()
    return time.monotonic() - begun


def post(engine: ManagedEngine, route: str, body: Any) -> int:
    """Post to an engine as only who has its socket and key could, and return the status."""
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.folder / "engine.sock"))
    headers = {"authorization": f"Bearer {engine._api_key}", "content-type": "application/json"}
    connection.request("POST", route, json.dumps(body), headers)
    with connection.getresponse() as answer:
        status = answer.status
        answer.read()
    connection.close()
    return status

"""LiteLLM's proxy with Recert as its guardrail, as `examples/litellm/config.yaml` says, and what gets through."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from fronts.client import KEY
from fronts.others import LITELLM, free_port
from fronts.process import Server
from fronts.scripted import Scripted
from fronts.upstream import PHRASES
from peers.environment import python_of

CONFIG = Path(__file__).parents[2] / "examples" / "litellm" / "config.yaml"
BUFFERED = "      streaming_buffer_until_moderated: true\n"
CLOSED = "fail_closed"
PHRASE = PHRASES[0]
WRITTEN = {
    "plain": PHRASE,
    "full width": "".join(chr(ord(char) + 0xFEE0) if char != " " else char for char in PHRASE),
    "zero width": "\u200b".join(PHRASE),
    "base64": base64.b64encode(PHRASE.encode()).decode(),
}
_HIDDEN = frozenset({"the reply's reasoning", "the reply's refusal"})


def start_recert(folder: Path, model: str) -> Server:
    """Start a gateway of ours with the guardrail, in a process of its own; it forbids the benchmark's phrases."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fronts.recert_front", model, str(folder / "recert"), "--guardrail"]
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    return Server(command, folder / "recert.txt", environment={"PYTHONPATH": paths})


def start_litellm(folder: Path, model: str, recert: str, config: str) -> Server:
    """
    Start LiteLLM's proxy with one worker on a configuration.

    Raises:
        NoPeer: it does not install or start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(config, encoding="utf-8")
    port = free_port()
    own = {f"XDG_{kind}_HOME": str(folder) for kind in ("DATA", "CONFIG", "CACHE", "STATE")} | {
        "MODEL_URL": f"{model}/v1", "MODEL_KEY": "none", "RECERT_URL": recert, "RECERT_KEY": KEY,
        "LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    tool = str(python_of(LITELLM).with_name("litellm"))
    command = [tool, "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Server(command, folder / "litellm.txt", url=f"http://127.0.0.1:{port}", environment=own)


@dataclass(frozen=True)
class Case:
    """
    Something forbidden in one place.

    Args:
        place: where it stands.
        text: as it is written there.
        stream: how is asked.
        asked: fields of the request beside the model's name.
        messages: what the model says, plain.
        deltas: what it says in a stream.
    """

    place: str
    text: str
    stream: bool
    asked: dict[str, Any] = field(default_factory=dict)
    messages: Sequence[dict[str, Any]] = ({"content": "all is well"},)
    deltas: Sequence[tuple[int, dict[str, Any]]] = ((0, {"content": "all is well"}),)

    @property
    def of_request(self) -> bool:
        """Whether the client says it."""
        return self.place.startswith("the request")

    @property
    def hidden(self) -> bool:
        """Whether LiteLLM shows guardrails nothing of that place."""
        return self.place in _HIDDEN and not (self.stream and self.place == "the reply's reasoning")


@dataclass(frozen=True)
class Outcome:
    """What became of it: whether it got through, and the status that the client got."""

    leaked: bool
    status: int


def ask(proxy: str, model: Scripted, case: Case) -> Outcome:
    """Ask the proxy, and see whether what is forbidden reached the model, or the client."""
    model.messages, model.deltas = case.messages, case.deltas
    before = len(model.asked)
    body = {
        "model": "assistant", "messages": [{"role": "user", "content": "Hello"}], "stream": case.stream,
        **case.asked,
    }  # fmt: skip
    reply = httpx.post(
        f"{proxy}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60
    )
    seen = list(_strings(model.asked[before:])) if case.of_request else list(said(reply.text))
    return Outcome(any(case.text in one for one in seen), reply.status_code)


def said(body: str) -> Iterator[str]:
    """Yield every text of a reply, those of a stream put together again."""
    if not body.startswith("data:"):
        yield from _strings(json.loads(body))
        return
    whole: dict[str, str] = defaultdict(str)
    for line in body.splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            for choice in json.loads(line[5:]).get("choices") or ():
                for where, text in _placed(choice.get("delta") or {}, str(choice.get("index"))):
                    whole[where] += text
    yield from whole.values()


def _placed(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _placed(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            index = inner.get("index", at) if isinstance(inner, dict) else at
            yield from _placed(inner, f"{where}[{index}]")


def _strings(value: Any) -> Iterator[str]:
    return (text for _, text in _placed(value, ""))


def cases() -> list[Case]:
    """Return everything that is tried."""
    return [*_of_requests(), *_of_replies()]


def _of_requests() -> Iterator[Case]:
    def turn(role: str, **said: Any) -> dict[str, Any]:
        return {"messages": [{"role": role, **said}, {"role": "user", "content": "Hello"}]}

    def tool(**function: Any) -> dict[str, Any]:
        return {"tools": [{"type": "function", "function": {"name": "look_up", **function}}]}

    called = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": f'["{PHRASE}"]'}}
    schema = {"type": "object", "properties": {PHRASE: {"type": "string"}}}
    for way, text in WRITTEN.items():
        yield Case(
            f"the request's text, {way}", text, stream=False, asked=turn("user", content=f"Say {text}.")
        )
    for place, asked in {
        "text in parts": turn("user", content=[{"type": "text", "text": PHRASE}]),
        "system prompt": turn("system", content=PHRASE),
        "tool description": tool(description=PHRASE, parameters={"type": "object", "properties": {}}),
        "tool schema": tool(parameters=schema),
        "earlier tool call": turn("assistant", content=None, tool_calls=[called]),
        "response format": {
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        },
        "stop texts": {"stop": [PHRASE]},
    }.items():
        for stream in (False, True):
            yield Case(f"the request's {place}", PHRASE, stream=stream, asked=asked)


def _of_replies() -> Iterator[Case]:
    arguments = json.dumps({"a": PHRASE})
    for way, text in WRITTEN.items():
        yield _reply(f"the reply's text, {way}", text, {"content": f"It is {text}, of course."})
        yield _streamed(f"the reply's text, {way}", text, [{"content": one} for one in f"It is {text}, yes."])
    for at in range(1, len(PHRASE)):
        pieces = ["It is ", PHRASE[:at], PHRASE[at:], " of course"]
        yield _streamed(f"the reply's text, cut at {at}", PHRASE, [{"content": one} for one in pieces])
    other = [(0, {"content": "fine"}), *((1, {"content": one}) for one in PHRASE.partition(" "))]
    yield Case(
        "the reply's second choice",
        PHRASE,
        stream=False,
        asked={"n": 2},
        messages=({"content": "fine"}, {"content": PHRASE}),
    )
    yield Case("the reply's second choice", PHRASE, stream=True, asked={"n": 2}, deltas=other)
    for place, name, said in (
        ("tool name", PHRASE.replace(" ", "_"), "{}"),
        ("tool arguments", "look_up", arguments),
    ):
        text = PHRASE if said == arguments else name
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": said}}
        yield _reply(f"the reply's {place}", text, {"tool_calls": [call]})
        first = {"tool_calls": [{**call, "index": 0, "function": {"name": name, "arguments": ""}}]}
        rest = [{"tool_calls": [{"index": 0, "function": {"arguments": one}}]} for one in said]
        yield _streamed(f"the reply's {place}", text, [first, *rest])
    for place, key in (("reasoning", "reasoning_content"), ("refusal", "refusal")):
        yield _reply(f"the reply's {place}", PHRASE, {"content": "fine", key: PHRASE})
        pieces = [{key: one} for one in PHRASE.partition(" ")]
        yield _streamed(f"the reply's {place}", PHRASE, [*pieces, {"content": "fine"}])


def _reply(place: str, text: str, message: dict[str, Any]) -> Case:
    return Case(place, text, stream=False, messages=(message,))


def _streamed(place: str, text: str, deltas: Sequence[dict[str, Any]]) -> Case:
    return Case(place, text, stream=True, deltas=[(0, delta) for delta in deltas])

"""Clients that people have: each asks a gateway as it always does, and understands what it gets."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateways import MODEL, ScriptedUpstream, ask, ask_stream, gateway, make_gateway_policy
from recert.gateway.access.keys import ApiKeys

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123"
JSON_BODY = "Content-Type: application/json"
SERIAL = "0123456789abcdef" * 2
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
CALL = {
    "index": 0,
    "id": "x",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"q": "books"}'},
}


def echo(messages: list[dict[str, str]]) -> list[str]:
    """Answer with the last message's words."""
    return [word + " " for word in messages[-1]["content"].split()]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A gateway whose model answers in words, and one whose model calls a tool that was offered."""
    events = [{"delta": {"tool_calls": [CALL]}}, {"delta": {}, "finish_reason": "tool_calls"}]
    raw = [b"data: " + json.dumps({"choices": [{"index": 0, **one}]}).encode() + b"\n\n" for one in events]
    calling = ScriptedUpstream(lambda _: [], raw=[*raw, b"data: [DONE]\n\n"])
    keys, tools = ApiKeys([f"team:{KEY}"]), make_gateway_policy(allow=("tools",))
    folder = tmp_path_factory.mktemp("clients")
    with (
        gateway(folder / "words", echo, keys=keys) as (first, _),
        gateway(folder / "tools", calling, keys=keys, policy=tools) as (second, _),
    ):
        yield first.url, second.url


def test_the_official_python_client_asks_and_is_answered(urls: tuple[str, str]) -> None:
    """Chat, stream, a tool, and errors as the classes that programs catch."""
    words, tools = (openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0) for url in urls)
    with words as made, tools as with_tools:
        assert ask(made, "good morning").choices[0].message.content == "good morning "
        assert ask_stream(made, "good morning") == ("good morning ", "stop")
        (call,) = ask(with_tools, tools=TOOLS).choices[0].message.tool_calls
        with pytest.raises(openai.BadRequestError) as refused:
            ask(made, n=3)
        with pytest.raises(openai.NotFoundError) as elsewhere:
            made.responses.create(model=MODEL, input="good morning")

    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"q": "books"})
    assert (refused.value.code, refused.value.param) == ("not_certified", "n")
    assert elsewhere.value.code == "not_certified"


def test_the_official_javascript_client_asks_and_is_answered(urls: tuple[str, str]) -> None:
    """Chat, stream, a tool, and errors with status, code and field."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    folder = ROOT / "build" / "clients"
    if not (folder / "node_modules" / "openai").exists():
        folder.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(
            [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", "openai@6"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if got.returncode:
            pytest.skip(f"npm cannot install the client: {(got.stderr or got.stdout)[:200]}")
    done = subprocess.run(
        [node, str(Path(__file__).with_name("openai_client.cjs")), *urls, KEY, MODEL],
        capture_output=True, text=True, check=False, timeout=60,
        env={"NODE_PATH": str(folder / "node_modules"), "PATH": str(Path(node).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)

    assert found == {
        "models": [MODEL],
        "plain": ["good morning ", "stop"],
        "certificate": SERIAL,
        "streamed": ["good morning ", "stop"],
        "tokens": 9,
        "tool": ["look_up", {"q": "books"}],
        "refused": ["BadRequestError", 400, "not_certified", "n"],
        "missing": ["NotFoundError", 404, "model_not_found", "model"],
        "elsewhere": ["NotFoundError", 404, "not_certified", None],
        "stranger": ["AuthenticationError", 401, "invalid_api_key", None],
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_langchain_asks_and_is_answered(urls: tuple[str, str]) -> None:
    """`ChatOpenAI` answers, streams, binds a tool, and raises what the official client raises."""
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    words, tools = (
        langchain_openai.ChatOpenAI(
            base_url=url + "/v1", api_key=KEY, model=MODEL, max_retries=0, temperature=0
        )
        for url in urls
    )
    said = words.invoke([("system", "Be kind."), ("user", "good morning")])
    streamed = [chunk.content for chunk in words.stream("good morning")]
    called = tools.bind_tools(TOOLS).invoke("good morning")
    stopping = words.bind(stop=["END"])

    assert (said.content, said.response_metadata["finish_reason"]) == ("good morning ", "stop")
    assert "".join(streamed) == "good morning "
    assert len(streamed) > 1
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [("look_up", {"q": "books"})]
    with pytest.raises(openai.BadRequestError) as caught:
        stopping.invoke("good morning")
    assert (caught.value.code, caught.value.param) == ("not_certified", "stop")


def curl(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run curl as a person would."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not on this machine")
    always = ("--silent", "--show-error", "--max-time", "20", "-H", f"Authorization: Bearer {KEY}")
    return subprocess.run([program, *always, *arguments, url], capture_output=True, text=True, check=False)


def test_curl_asks_and_is_answered(urls: tuple[str, str]) -> None:
    """Chat, a stream as it is on the wire, a tool, and errors with their status, also for `--fail`."""
    words, tools = (url + "/v1/chat/completions" for url in urls)
    hello: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "good morning"}]}

    def asked(url: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return curl(url, "-H", JSON_BODY, "-d", json.dumps(hello | more), *arguments)

    plain = json.loads(asked(words).stdout)
    stream = asked(words, "--no-buffer", stream=True).stdout
    called = json.loads(asked(tools, tools=TOOLS).stdout)["choices"][0]["message"]["tool_calls"][0][
        "function"
    ]
    refused = asked(words, "--write-out", "%{http_code}", n=3).stdout
    failed = asked(words, "--fail", n=3)
    packed = curl(
        words,
        "--compressed",
        "-H",
        "Content-Encoding: gzip",
        "-d",
        "{}",
        "-H",
        "Content-Type: application/json",
    )

    assert plain["choices"][0]["message"]["content"] == "good morning "
    events = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    assert events[-1] == "[DONE]"
    pieces = [json.loads(one)["choices"][0]["delta"].get("content", "") for one in events[:-1]]
    assert "".join(pieces) == "good morning "
    assert called == {"name": "look_up", "arguments": '{"q": "books"}'}
    assert refused.endswith("400") and '"code":"not_certified"' in refused
    assert failed.returncode == 22
    assert json.loads(packed.stdout)["error"]["code"] == "unsupported_encoding"

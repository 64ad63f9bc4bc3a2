"""Log probabilities from a server that echoes prompts, and plain errors from those that do not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from http_endpoints import endpoint
from recert.errors import EndpointError
from recert.models.remote.endpoint import EndpointModel
from recert.records.data.suite import Chat, chat

Change = Callable[[dict[str, Any]], Any]


def template(one: Chat) -> str:
    """Return what the model of the tests reads."""
    return "".join(f"<{m.role}>{m.content}" for m in one.messages) + "<assistant>" + one.assistant_prefix


def echo(change: Change = lambda value: value) -> Callable[[dict[str, Any], int], web.Response]:
    """Return an echoing server whose tokens are words, each of them as likely as it is long."""

    def answer(body: dict[str, Any], n: int) -> web.Response:
        words = body["prompt"].split(" ")
        tokens = [words[0], *(f" {w}" for w in words[1:]), " more"]
        logs = [None, *(-float(len(t)) for t in tokens[1:])]
        value = {
            "choices": [
                {
                    "text": "".join(tokens),
                    "logprobs": {"tokens": tokens, "token_logprobs": logs},
                    "finish_reason": "length",
                }
            ],
            "usage": {"prompt_tokens": len(words), "completion_tokens": 1},
        }
        return web.Response(text=json.dumps(change(value)), content_type="application/json")

    return answer


def model(url: str, **more: Any) -> EndpointModel:
    """Return a model that knows its template."""
    return EndpointModel(url, "m", **({"template": template, "first_pause_s": 0.01} | more))


def test_the_continuation_alone_is_summed() -> None:
    """The prompt's tokens do not count, nor does what the server adds at the end."""
    pairs = [
        (chat("how now"), " brown cow"),
        (chat("how now"), " cow"),
        (chat("well", system="be brief"), " a b c"),
    ]
    with endpoint(echo(), "/v1/completions") as (url, asked):
        found = model(url).log_probs(pairs)

    assert found == [-(6.0 + 4.0), -4.0, -6.0]
    assert len(asked) == 2 + 3  # a prompt is asked once for all that follow it
    assert {a["echo"] for a in asked} == {True}


def test_the_template_of_llama_cpp_is_asked_for() -> None:
    """Without a template the server's own is asked to make the prompt."""

    async def apply(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"prompt": template(chat(body["messages"][0]["content"]))})

    with endpoint(echo(), "/v1/completions", ("POST", "/apply-template", apply)) as (url, asked):
        assert model(url, template=None).log_probs([(chat("how now"), " cow")]) == [-4.0]

    assert asked[0]["prompt"].startswith("<user>how now")


def test_no_template_is_an_error_that_says_what_to_give() -> None:
    """A server without that route, and no template given: nobody knows what the model reads."""
    with endpoint(echo(), "/v1/completions") as (url, _), pytest.raises(EndpointError) as caught:
        model(url, template=None).log_probs([(chat("x"), " y")])

    assert "template" in caught.value.hint


def _without(*keys: str) -> Change:
    def change(value: dict[str, Any]) -> Any:
        at = value
        for key in keys[:-1]:
            at = at["choices"][0] if key == "choice" else at[key]
        del at[keys[-1]]
        return value

    return change


def _choice(**new: Any) -> Change:
    return lambda value: value | {"choices": [value["choices"][0] | new]}


@pytest.mark.parametrize(
    "change",
    [
        _choice(logprobs=None),
        _choice(text=" more"),
        _choice(logprobs={"tokens": [], "token_logprobs": []}),
        lambda value: value | {"choices": []},
        lambda value: [],
        lambda value: value | {"usage": None},
        _without("usage"),
        lambda value: json.loads(json.dumps(value).replace("-", "")),
        lambda value: json.loads(json.dumps(value).replace("-4.0", "null")),
    ],
)
def test_a_server_that_does_not_echo_is_an_error(change: Change) -> None:
    """Whatever leaves any token's probability open is an error with a hint, never a number."""
    with endpoint(echo(change), "/v1/completions") as (url, _), pytest.raises(EndpointError) as caught:
        model(url).log_probs([(chat("how now"), " brown cow")])

    assert "local engine" in caught.value.hint


def test_a_server_that_refuses_echo_is_an_error_with_the_same_hint() -> None:
    """As llama.cpp's own server does."""
    error = {"error": {"message": "Only no echo is supported", "code": 400}}

    def refuse(body: dict[str, Any], n: int) -> web.Response | Awaitable[web.StreamResponse]:
        return web.json_response(error, status=400)

    with (
        endpoint(refuse, "/v1/completions") as (url, asked),
        pytest.raises(EndpointError, match="no echo") as caught,
    ):
        model(url).log_probs([(chat("how now"), " brown cow")])

    assert "vLLM" in caught.value.hint
    assert len(asked) == 1


def test_a_token_on_the_border_is_an_error() -> None:
    """Where the last token of the prompt runs on into the continuation, no sum is right."""
    with endpoint(echo(), "/v1/completions") as (url, _), pytest.raises(EndpointError, match="share a token"):
        model(url).log_probs([(chat("how now"), "ish cow")])


def test_an_empty_continuation_is_an_error() -> None:
    """It would be certain."""
    with endpoint(echo(), "/v1/completions") as (url, _), pytest.raises(EndpointError, match="no tokens"):
        model(url).log_probs([(chat("how now"), "")])

"""Requests that must be refused, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import MODEL, ScriptedUpstream, ask, ask_stream, client, gateway, make_gateway_policy
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.parse import ChatRequest, parse_chat, read_object
from recert.policy.policy import GatewayPolicy

POLICY = GatewayPolicy(max_new_tokens=100, max_temperature=1.0)
GOOD = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}


def body(**changes: Any) -> bytes:
    """Return a request body."""
    return json.dumps({**GOOD, **changes}).encode()


REFUSED: list[tuple[str, bytes, str, str | None]] = [
    ("not json", b"{", "invalid_json", None),
    ("empty", b"", "invalid_json", None),
    ("list", b"[]", "invalid_type", None),
    ("duplicate key", b'{"model":"a","model":"b","messages":[]}', "invalid_json", None),
    (
        "duplicate key inside",
        b'{"model":"a","messages":[{"role":"user","content":"Hi","content":"Ho"}]}',
        "invalid_json",
        None,
    ),
    ("nan", b'{"model":"a","temperature":NaN,"messages":[]}', "invalid_json", None),
    ("infinity", b'{"model":"a","temperature":1e999,"messages":[]}', "invalid_json", None),
    ("depth", b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", None),
    ("depth of objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json", None),
    ("half a surrogate", b'{"model":"\\ud800","messages":[]}', "invalid_json", None),
    ("not utf-8", b'{"model":"\xff"}', "invalid_json", None),
    ("unknown field", body(best_of=3), "unknown_field", "best_of"),
    ("unknown field in a message", body(messages=[{"role": "user", "content": "Hi", "name": "x"}]),
     "unknown_field", "messages[0].name"),
    ("n", body(n=2), "not_certified", "n"),
    ("n true", body(n=True), "not_certified", "n"),
    ("tools", body(tools=[{"type": "function"}]), "not_certified", "tools"),
    ("response format", body(response_format={"type": "json_object"}), "not_certified", "response_format"),
    ("logprobs", body(logprobs=True), "not_certified", "logprobs"),
    ("logit bias", body(logit_bias={"1": 100}), "not_certified", "logit_bias"),
    ("image", body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "not_certified",
     "messages[0].content"),
    ("prefill", body(messages=[*GOOD["messages"], {"role": "assistant", "content": "Sure"}]), "not_certified",
     "messages"),
    ("late system", body(messages=[*GOOD["messages"], {"role": "system", "content": "x"}]), "not_certified",
     "messages[1].role"),
    ("tool role", body(messages=[{"role": "tool", "content": "x"}]), "not_certified", "messages[0].role"),
    ("no messages", body(messages=[]), "invalid_type", "messages"),
    ("content null", body(messages=[{"role": "user", "content": None}]), "invalid_type",
     "messages[0].content"),
    ("stream text", body(stream="yes"), "invalid_type", "stream"),
    ("stream options alone", body(stream_options={"include_usage": True}), "invalid_type", "stream_options"),
    ("hot", body(temperature=1.5), "invalid_value", "temperature"),
    ("top p", body(top_p=2), "invalid_value", "top_p"),
    ("no tokens", body(max_tokens=0), "invalid_value", "max_tokens"),
    ("seed text", body(seed="1"), "invalid_value", "seed"),
    ("no model", json.dumps({"messages": GOOD["messages"]}).encode(), "invalid_type", "model"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "param"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_not_understood_or_not_certified_is_refused(
    data: bytes, code: str, param: str | None
) -> None:
    """Each bad request is refused with its code, naming the field."""
    with pytest.raises(BadRequest) as caught:
        parse_chat(read_object(data), POLICY)

    assert (code, param) == (caught.value.code, caught.value.param)
    assert param is None or param in str(caught.value)


def test_values_that_ask_for_nothing_are_taken() -> None:
    """Clients that spell out defaults are served: n=1, no tools, no penalties; and limits are lowered."""
    data = body(
        n=1, tools=[], frequency_penalty=0.0, presence_penalty=0, logprobs=False, stop=None, max_tokens=10**6
    )
    found = parse_chat(read_object(data), POLICY)

    assert found.max_new_tokens == 100
    assert (found.temperature, found.top_p, found.seed) == (0.0, 1.0, 0)


def test_system_and_developer_messages_become_the_system_prompt() -> None:
    """Leading system and developer messages are joined; parts of text are joined too."""
    messages = [
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}, {"type": "text", "text": "C"}]},
        {"role": "user", "content": "Hi"},
    ]
    found = parse_chat(read_object(body(messages=messages)), POLICY)

    assert found.system == "A\nB\nC"
    assert found.texts() == ("A\nB\nC", "Hi")


EVERYTHING = ("choices", "logprobs", "names", "prefill", "reasoning", "response_format", "stop", "tools")
OPEN = GatewayPolicy(max_new_tokens=100, allow=EVERYTHING)
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "\\u0074he map"}'}}
SCHEMA = {
    "type": "object",
    "properties": {"where": {"type": "string", "enum": ["north"], "description": "a side"}},
}
TOOL = {"type": "function", "function": {"name": "look", "description": "looks around", "parameters": SCHEMA}}
FULL: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}],
            "name": "ann",
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "I should look."},
        {"role": "tool", "tool_call_id": "c1", "content": "a lake"},
        {"role": "assistant", "content": "So"},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "place", "description": "where it is", "schema": {"required": ["lake"]}},
    },
    "stop": ["END"],
    "n": 2,
    "logprobs": True,
    "reasoning_effort": "low",
    "parallel_tool_calls": False,
}


def test_every_text_of_every_field_is_known_to_the_controls() -> None:
    """All roles, parts, names, reasoning, calls (as they stand and decoded), tools, schemas, formats, stop texts."""
    found = "\n".join(parse_chat(read_object(body(**FULL)), OPEN).texts())

    for text in (
        "Be kind.", "Be brief.", "One", "Two", "ann", "look", "the map", "I should look.", "a lake", "So",
        "looks around", "a side", "north", "where", "properties", "place", "where it is", "required", "lake", "END",
    ):  # fmt: skip
        assert text in found


def test_what_the_policy_allows_goes_to_the_model_as_it_was_understood() -> None:
    """Each allowed field arrives; what was not understood does not."""
    request = parse_chat(read_object(body(**FULL)), OPEN)
    sent = [message.to_value() for message in request.messages]

    assert sent == [
        {"role": "user", "content": "One\nTwo", "name": "ann"},
        {"role": "assistant", "content": None, "reasoning_content": "I should look.", "tool_calls": [CALL]},
        {"role": "tool", "content": "a lake", "tool_call_id": "c1"},
        {"role": "assistant", "content": "So"},
    ]
    assert request.prefill == "So"
    assert request.question == "One\nTwo"
    assert request.wishes.to_value() == {
        **{
            name: FULL[name] for name in ("n", "stop", "tools", "tool_choice", "logprobs", "reasoning_effort")
        },
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": FULL["response_format"]["json_schema"] | {"strict": False},
        },
    }


@pytest.mark.parametrize("feature", EVERYTHING)
def test_each_feature_is_refused_where_the_policy_does_not_allow_it(feature: str) -> None:
    """With everything else allowed, the request that uses it all is refused for the one that is missing."""
    policy = GatewayPolicy(allow=tuple(one for one in EVERYTHING if one != feature))

    with pytest.raises(BadRequest):
        parse_chat(read_object(body(**FULL)), policy)


HI = GOOD["messages"]
BAD_WISHES: list[tuple[str, dict[str, Any], str]] = [
    ("n too large", {"n": 9}, "n"),
    ("n of nothing", {"n": 0}, "n"),
    ("alternatives", {"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
    ("five stops", {"stop": list("abcde")}, "stop"),
    ("an empty stop", {"stop": [""]}, "stop"),
    ("a long stop", {"stop": "x" * 300}, "stop"),
    ("effort", {"reasoning_effort": "endless"}, "reasoning_effort"),
    ("a tool that is no function", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("an unknown field in a tool", {"tools": [{**TOOL, "defer": True}]}, "tools[0].defer"),
    ("two tools of one name", {"tools": [TOOL, TOOL]}, "tools"),
    ("a tool's name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ("a choice without tools", {"tool_choice": "auto"}, "tool_choice"),
    ("a choice that is not offered", {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
     "tool_choice"),
    ("a format", {"response_format": {"type": "xml"}}, "response_format.type"),
    ("a format without a schema", {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ("an answer to no call", {"messages": [*HI, {"role": "tool", "tool_call_id": "c9", "content": "x"}]},
     "messages[1].tool_call_id"),
    ("a call's field", {"messages": [*HI, {"role": "assistant", "tool_calls": [{**CALL, "x": 1}]}, HI[0]]},
     "messages[1].tool_calls[0].x"),
    ("an empty beginning", {"messages": [*HI, {"role": "assistant", "content": ""}]}, "messages"),
    ("no user", {"messages": [{"role": "assistant", "content": "Sure"}]}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "param"), [w[1:] for w in BAD_WISHES], ids=[w[0] for w in BAD_WISHES])
def test_allowed_fields_are_read_as_strictly(wish: dict[str, Any], param: str) -> None:
    """An allowed feature is no licence: values out of bounds and unknown parts are refused, naming the field."""
    with pytest.raises(BadRequest) as caught:
        parse_chat(read_object(body(**wish)), OPEN)

    assert param == caught.value.param


def test_a_schema_may_not_be_nested_without_end() -> None:
    """A schema deeper than can be read quickly is refused."""
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    tool = {"type": "function", "function": {"name": "look", "parameters": deep}}

    with pytest.raises(BadRequest) as caught:
        parse_chat(read_object(body(tools=[tool])), OPEN)

    assert caught.value.param == "tools[0].function.parameters"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "temperature",
        "max_tokens",
        "n",
        "stop",
        "seed",
        "user",
        "tools",
        "response_format",
    ]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(value=st.dictionaries(FIELDS, JSON, max_size=5) | JSON, noise=st.binary(max_size=3))
def test_any_body_is_read_or_refused(value: Any, noise: bytes) -> None:
    """Whatever arrives, the answer is a request or a BadRequest, never another error."""
    try:
        found = parse_chat(read_object(json.dumps(value).encode() + noise), OPEN)
    except BadRequest as exc:
        assert exc.status == 400
        return

    assert isinstance(found, ChatRequest)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run one gateway with a small body limit for the requests of this module."""
    policy = make_gateway_policy(max_body_bytes=2000)
    with gateway(tmp_path_factory.mktemp("gateway"), lambda _: ["Hi"], policy=policy) as (server, _):
        yield server.url


JSON_TYPE = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("POST", "/v1/completions", JSON_TYPE, b"{}", 404, "not_certified"),
        ("POST", "/v1/embeddings", JSON_TYPE, b"{}", 404, "not_certified"),
        ("POST", "/v1/responses", JSON_TYPE, b"{}", 404, "not_certified"),
        ("POST", "/v1/audio/speech", JSON_TYPE, b"{}", 404, "unknown_route"),
        ("GET", "/v1/models/../admin", {}, b"", 404, "unknown_route"),
        ("GET", "/v1/chat/completions", {}, b"", 405, "method_not_allowed"),
        (
            "POST",
            "/v1/chat/completions",
            {"content-type": "text/plain"},
            b"{}",
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            "/v1/chat/completions",
            {**JSON_TYPE, "content-encoding": "gzip"},
            b"x",
            415,
            "unsupported_encoding",
        ),
        ("POST", "/v1/chat/completions", JSON_TYPE, b"[" + b"1," * 4000 + b"1]", 413, "body_too_large"),
        ("POST", "/v1/chat/completions", JSON_TYPE, body(model="other"), 404, "model_not_found"),
        ("POST", "/v1/chat/completions", JSON_TYPE, body(n=3), 400, "not_certified"),
    ],
)
def test_a_bad_request_gets_an_openai_shaped_error(
    *, url: str, method: str, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    """Unknown routes, other methods, types, encodings, sizes, models: status and code say what is wrong."""
    found = httpx.request(method, url + path, headers=headers, content=content)

    assert (status, code) == (found.status_code, found.json()["error"]["code"])
    assert {"message", "type", "param", "code"} == set(found.json()["error"])


def test_a_body_without_a_length_is_counted(url: str) -> None:
    """A chunked body is cut off at the limit."""
    found = httpx.post(url + "/v1/chat/completions", headers=JSON_TYPE, content=iter([b"1" * 1500] * 4))

    assert found.status_code == 413


SPOILT: list[tuple[str, list[bytes], str]] = [
    ("not json", [b"data: {\n\n"], "upstream-malformed"),
    ("no choices", [b"data: {}\n\n"], "upstream-malformed"),
    ("content is a list", [b'data: {"choices":[{"delta":{"content":["x"]}}]}\n\n'], "upstream-malformed"),
    ("an error", [b'data: {"error":{"message":"napalm"}}\n\n'], "upstream-failed"),
    ("no end", [b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'], "upstream-cut"),
    ("nothing", [b""], "upstream-cut"),
    ("a line without end", [b"data: " + b"x" * 1_100_000], "upstream-malformed"),
]


@pytest.mark.parametrize(("blocks", "code"), [s[1:] for s in SPOILT], ids=[s[0] for s in SPOILT])
def test_an_upstream_that_misbehaves_gives_an_error_and_an_audit_line(
    tmp_path: Path, blocks: list[bytes], code: str
) -> None:
    """Malformed, failing or broken-off upstreams: 502 for plain requests, an error frame in streams."""
    import openai

    upstream = ScriptedUpstream(lambda _: [], raw=blocks)
    with gateway(tmp_path, upstream) as (server, _), client(server) as made:
        with pytest.raises(openai.APIStatusError) as plain:
            ask(made)
        with pytest.raises(openai.APIError) as streamed:
            ask_stream(made)

    assert (502, code) == (plain.value.status_code, plain.value.code)
    assert code == streamed.value.code
    assert "napalm" not in str(plain.value) + str(streamed.value)

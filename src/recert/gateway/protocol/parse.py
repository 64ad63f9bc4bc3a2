"""
Reading a request strictly: what is not understood is refused, never passed on.

Here too: tools and response formats that clients offer, when the policy allows them: read strictly, every text known.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from recert.errors import RecordError
from recert.gateway.audio.clips import Clip, ClipReader
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.messages import ChatMessage, read_messages
from recert.gateway.protocol.values import (
    invalid,
    not_certified,
    read_boolean,
    read_integer,
    read_name,
    read_number,
    read_object_of,
    read_schema,
    read_text,
    strings,
)
from recert.policy.policy import GatewayPolicy
from recert.policy.sections.gateway_audio import GatewayAudioPolicy
from recert.records.record import parse_json

_MAX_TOOLS: Final = 128


@dataclass(frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any] | None
    strict: bool

    def text(self) -> str:
        """Return its name, description and every text of its schema."""
        return "\n".join([self.name, self.description, *strings(self.parameters)])

    def to_value(self) -> dict[str, Any]:
        """Return what the model gets."""
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        if self.parameters is not None:
            function["parameters"] = self.parameters
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}


def read_tools(value: Any) -> tuple[Tool, ...]:
    """
    Return the tools of a request.

    Raises:
        BadRequest: one is no function, or is not understood.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_TOOLS:
        invalid("tools", f"a list of at most {_MAX_TOOLS} tools")
    found = tuple(_tool(one, f"tools[{at}]") for at, one in enumerate(value))
    if len({tool.name for tool in found}) < len(found):
        raise BadRequest("two tools have the same name", param="tools", code="invalid_value")
    return found


def _tool(value: Any, where: str) -> Tool:
    given = read_object_of(value, where, frozenset({"type", "function"}))
    if given.get("type") != "function":
        not_certified(f"{where}.type", "a tool that is no function")
    here = f"{where}.function"
    function = read_object_of(
        given.get("function"), here, frozenset({"name", "description", "parameters", "strict"})
    )
    parameters = function.get("parameters")
    return Tool(
        name=read_name(function.get("name"), f"{here}.name"),
        description=read_text(function.get("description") or "", f"{here}.description", empty=True),
        parameters=None if parameters is None else read_schema(parameters, f"{here}.parameters"),
        strict=read_boolean(function, "strict"),
    )


def read_tool_choice(value: Any, tools: Sequence[Tool]) -> Any:
    """
    Return which tools the model is to call, as the model gets it; None where nothing was said.

    Raises:
        BadRequest: it is not understood, or names a tool that is not offered.
    """
    if value is None or (value == "none" and not tools):
        return None
    if not tools:
        raise BadRequest("tool_choice goes with tools", param="tool_choice", code="invalid_value")
    if value in ("none", "auto", "required"):
        return value
    given = read_object_of(value, "tool_choice", frozenset({"type", "function"}))
    function = read_object_of(given.get("function"), "tool_choice.function", frozenset({"name"}))
    name = read_name(function.get("name"), "tool_choice.function.name")
    if given.get("type") != "function" or name not in {tool.name for tool in tools}:
        raise BadRequest("tool_choice names no offered tool", param="tool_choice", code="invalid_value")
    return {"type": "function", "function": {"name": name}}


@dataclass(frozen=True)
class ResponseFormat:
    """The form that a reply is to have."""

    value: dict[str, Any]
    """What the model gets."""

    def text(self) -> str:
        """Return every text of it."""
        return "\n".join(strings(self.value.get("json_schema")))


def read_response_format(value: Any) -> ResponseFormat | None:
    """
    Return the form of a reply; None for plain text.

    Raises:
        BadRequest: it is not understood.
    """
    if value is None:
        return None
    given = read_object_of(value, "response_format", frozenset({"type", "json_schema"}))
    kind = given.get("type")
    if kind == "json_schema":
        where = "response_format.json_schema"
        schema = read_object_of(
            given.get("json_schema"), where, frozenset({"name", "description", "schema", "strict"})
        )
        made: dict[str, Any] = {"name": read_name(schema.get("name"), f"{where}.name")}
        if schema.get("description") is not None:
            made["description"] = read_text(schema["description"], f"{where}.description", empty=True)
        made["schema"] = read_schema(schema.get("schema"), f"{where}.schema")
        made["strict"] = read_boolean(schema, "strict")
        return ResponseFormat({"type": kind, "json_schema": made})
    if kind not in ("text", "json_object") or given.get("json_schema") is not None:
        raise BadRequest(
            "response_format.type must be text, json_object or json_schema",
            param="response_format.type",
            code="invalid_value",
        )
    return None if kind == "text" else ResponseFormat({"type": kind})


MOST_CHOICES: Final = 8
MOST_STOPS: Final = 4
LONGEST_STOP_CHARS: Final = 256
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
KNOWN_NOT_CERTIFIED: Final = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "metadata", "modalities",
        "prediction", "presence_penalty", "prompt_cache_key", "safety_identifier", "service_tier", "store", "verbosity",
        "web_search_options",
    }
)  # fmt: skip
OPENED_BY: Final = {
    "logprobs": "logprobs",
    "n": "choices",
    "parallel_tool_calls": "tools",
    "reasoning_effort": "reasoning",
    "response_format": "response_format",
    "stop": "stop",
    "tool_choice": "tools",
    "tools": "tools",
    "top_logprobs": "logprobs",
}
"""Fields that are read where the policy allows what stands behind them."""
HARMLESS: Final[dict[str, tuple[object, ...]]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "stop": ([],),
    "store": (False,),
    "tool_choice": ("none",),
    "tools": ([],),
}
"""Values of fields outside the certificate that ask for nothing."""
READ: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature",
        "top_p", "seed", "user",
    }
)  # fmt: skip


@dataclass(frozen=True)
class ChatOptions:
    """What a request asks for beyond plain chat: nothing, where the policy allows nothing."""

    choices: int = 1
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool = False
    reasoning_effort: str = ""

    def texts(self) -> tuple[str, ...]:
        """Return every text of it."""
        form = (self.response_format.text(),) if self.response_format else ()
        return (*(tool.text() for tool in self.tools), *filter(None, form), *self.stop)

    def to_value(self) -> dict[str, Any]:
        """Return the fields that the model gets."""
        found = {
            "n": self.choices if self.choices > 1 else None,
            "stop": list(self.stop) or None,
            "tools": [tool.to_value() for tool in self.tools] or None,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": self.response_format.value if self.response_format else None,
            "logprobs": self.logprobs or None,
            "reasoning_effort": self.reasoning_effort or None,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class ChatRequest:
    """
    One request, as understood. `system` is the client's own system prompt, None when there is none.

    `messages` are the turns after it. The last is the user's, or, where the policy allows them, a tool's answer or the
    beginning of the reply.
    """

    model: str
    system: str | None
    messages: tuple[ChatMessage, ...]
    stream: bool
    include_usage: bool
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    wishes: ChatOptions = field(default_factory=ChatOptions)
    clips: tuple[Clip, ...] = ()
    """Every clip of its turns, in order."""

    @property
    def question(self) -> str:
        """The last user message."""
        return next(message.text for message in reversed(self.messages) if message.role == "user")

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """(role, text) of each message."""
        return tuple((message.role, message.text) for message in self.messages)

    @property
    def user_turns(self) -> tuple[str, ...]:
        """What users said, in order."""
        return tuple(message.text for message in self.messages if message.role == "user")

    @property
    def prefill(self) -> str:
        """The beginning of the reply, where the client wrote it."""
        return self.messages[-1].text if self.messages[-1].role == "assistant" else ""

    def texts(self) -> tuple[str, ...]:
        """Return every text the client wrote, in order."""
        said = (text for message in self.messages for text in message.texts())
        return (*((self.system,) if self.system else ()), *said, *self.wishes.texts())


def read_object(body: bytes) -> dict[str, Any]:
    """
    Return the JSON object of a body.

    Raises:
        BadRequest: it is not JSON, repeats a key, or is no object.
    """
    try:
        value = parse_json(body)
    except RecordError as exc:
        raise BadRequest(f"body is not valid JSON: {exc.facts['because']}", code="invalid_json") from exc
    if not isinstance(value, dict):
        raise BadRequest("body must be a JSON object", code="invalid_type")
    return value


def read_model(value: dict[str, Any]) -> str:
    """
    Return the name of the model that is asked for.

    Raises:
        BadRequest: there is none.
    """
    return read_text(value.get("model"), "model")


def parse_chat(
    value: dict[str, Any], policy: GatewayPolicy, audio: GatewayAudioPolicy | None = None
) -> ChatRequest:
    """
    Read a chat completion request, under the policy of the model it names.

    Args:
        value: its body.
        policy: bounds, and what is allowed beyond plain chat.
        audio: bounds of what is spoken; None where only text is served.

    Raises:
        BadRequest: it has an unknown field or a value that is not certified.
    """
    for name, given in value.items():
        if name in KNOWN_NOT_CERTIFIED or (name in OPENED_BY and OPENED_BY[name] not in policy.allow):
            _refuse_unless_harmless(name, given, policy.allow)
        elif name not in READ and name not in OPENED_BY:
            raise BadRequest(f"unknown field: {name[:80]}", param=name[:80], code="unknown_field")
    clips = ClipReader(audio) if audio is not None else None
    system, messages = read_messages(value.get("messages"), policy.allow, clips)
    stream = read_boolean(value, "stream")
    return ChatRequest(
        model=read_model(value),
        system=system,
        messages=messages,
        stream=stream,
        include_usage=_stream_options(value.get("stream_options"), stream=stream),
        max_new_tokens=_max_tokens(value, policy.max_new_tokens),
        temperature=read_number(value, "temperature", 0.0, 0.0, policy.max_temperature),
        top_p=read_number(value, "top_p", 1.0, 0.0, 1.0),
        seed=read_integer(value.get("seed"), "seed", 0, -(2**63), 2**63 - 1) or 0,
        wishes=_wishes(value) if policy.allow else ChatOptions(),
        clips=tuple(clips.clips) if clips is not None else (),
    )


def _refuse_unless_harmless(name: str, given: object, allow: Collection[str]) -> None:
    harmless = HARMLESS.get(name, ())
    if given is None or any(type(given) is type(h) and given == h for h in harmless):
        return
    if name.endswith("_penalty") and given == 0 and not isinstance(given, bool):
        return
    beyond = f"plain chat and {', '.join(sorted(allow))}" if allow else "plain chat"
    raise BadRequest(
        f"{name} is not certified: this gateway serves {beyond} only", param=name, code="not_certified"
    )


def _wishes(value: dict[str, Any]) -> ChatOptions:
    tools = read_tools(value.get("tools"))
    effort = value.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise BadRequest(
            f"reasoning_effort must be one of {', '.join(EFFORTS)}",
            param="reasoning_effort",
            code="invalid_value",
        )
    read_integer(value.get("top_logprobs"), "top_logprobs", 0, 0, 0)
    together = value.get("parallel_tool_calls")
    return ChatOptions(
        choices=read_integer(value.get("n"), "n", 1, 1, MOST_CHOICES) or 1,
        stop=_stop(value.get("stop")),
        tools=tools,
        tool_choice=read_tool_choice(value.get("tool_choice"), tools),
        parallel_tool_calls=read_boolean(value, "parallel_tool_calls")
        if together is not None and tools
        else None,
        response_format=read_response_format(value.get("response_format")),
        logprobs=read_boolean(value, "logprobs"),
        reasoning_effort=effort or "",
    )


def _stop(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value or []
    if not isinstance(given, list) or len(given) > MOST_STOPS:
        invalid("stop", f"a text or a list of at most {MOST_STOPS} texts")
    found = tuple(read_text(one, "stop") for one in given)
    if any(len(one) > LONGEST_STOP_CHARS for one in found):
        raise BadRequest(
            f"stop texts have at most {LONGEST_STOP_CHARS} characters", param="stop", code="invalid_value"
        )
    return found


def _stream_options(value: Any, *, stream: bool) -> bool:
    if value is None:
        return False
    if not stream or not isinstance(value, dict):
        raise BadRequest("stream_options goes with stream: true", param="stream_options", code="invalid_type")
    for name in value:
        if name not in ("include_usage", "include_obfuscation"):
            where = f"stream_options.{name[:80]}"
            raise BadRequest(f"unknown field: {where}", param=where, code="unknown_field")
    return read_boolean(value, "include_usage")


def _max_tokens(value: dict[str, Any], limit: int) -> int:
    """A limit above the policy's is lowered to it: the reply then ends with `length`."""
    asked = [
        found
        for name in ("max_tokens", "max_completion_tokens")
        if (found := read_integer(value.get(name), name, None, 1, 2**31)) is not None
    ]
    return min([limit, *asked])

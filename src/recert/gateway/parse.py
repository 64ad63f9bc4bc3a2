"""Reading a request strictly: what is not understood is refused, never passed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from recert.errors import RecordError
from recert.gateway.replies import BadRequest
from recert.policy.policy import GatewayPolicy
from recert.records import parse_json

_MAX_MESSAGES: Final = 256
_MAX_PARTS: Final = 64
_KNOWN_NOT_CERTIFIED: Final = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "metadata",
        "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
        "reasoning_effort", "response_format", "safety_identifier", "service_tier", "stop", "store",
        "tool_choice", "tools", "top_logprobs", "verbosity", "web_search_options",
    }
)  # fmt: skip
_HARMLESS: Final[dict[str, tuple[object, ...]]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "stop": ([],),
    "store": (False,),
    "tools": ([],),
}
"""Values of fields outside the certificate that ask for nothing."""
_READ: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature",
        "top_p", "seed", "user",
    }
)  # fmt: skip


@dataclass(frozen=True)
class ChatRequest:
    """
    One request, as understood. `system` is the client's own system prompt, None when there is none.

    `turns` are (role, text) pairs of `user` and `assistant`, ending with the user.
    """

    model: str
    system: str | None
    turns: tuple[tuple[str, str], ...]
    stream: bool
    include_usage: bool
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int

    @property
    def question(self) -> str:
        """The last user message."""
        return self.turns[-1][1]

    def texts(self) -> tuple[str, ...]:
        """Return every text the client wrote, in order."""
        each = [text for _, text in self.turns]
        return (self.system, *each) if self.system else tuple(each)


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
    return _text(value.get("model"), "model")


def parse_chat(value: dict[str, Any], policy: GatewayPolicy) -> ChatRequest:
    """
    Read a chat completion request, under the policy of the model it names.

    Raises:
        BadRequest: it has an unknown field or a value that is not certified.
    """
    for name, given in value.items():
        if name in _KNOWN_NOT_CERTIFIED:
            _refuse_unless_harmless(name, given)
        elif name not in _READ:
            raise BadRequest(f"unknown field: {name[:80]}", param=name[:80], code="unknown_field")
    system, turns = _messages(value.get("messages"))
    stream = _boolean(value, "stream")
    return ChatRequest(
        model=read_model(value),
        system=system,
        turns=turns,
        stream=stream,
        include_usage=_stream_options(value.get("stream_options"), stream=stream),
        max_new_tokens=_max_tokens(value, policy.max_new_tokens),
        temperature=_number(value, "temperature", 0.0, 0.0, policy.max_temperature),
        top_p=_number(value, "top_p", 1.0, 0.0, 1.0),
        seed=_integer(value.get("seed"), "seed", 0, -(2**63), 2**63 - 1) or 0,
    )


def _refuse_unless_harmless(name: str, given: object) -> None:
    harmless = _HARMLESS.get(name, ())
    if given is None or any(type(given) is type(h) and given == h for h in harmless):
        return
    if name.endswith("_penalty") and given == 0 and not isinstance(given, bool):
        return
    raise BadRequest(
        f"{name} is not certified: this gateway serves plain chat only", param=name, code="not_certified"
    )


def _messages(value: Any) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    if not isinstance(value, list) or not value:
        raise BadRequest("messages must be a non-empty list", param="messages", code="invalid_type")
    if len(value) > _MAX_MESSAGES:
        raise BadRequest(f"at most {_MAX_MESSAGES} messages", param="messages", code="too_many_messages")
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    for at, message in enumerate(value):
        where = f"messages[{at}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{where} must be an object", param=where, code="invalid_type")
        for name, given in message.items():
            if name not in ("role", "content") and given is not None:
                raise BadRequest(
                    f"unknown field: {where}.{name[:80]}", param=f"{where}.{name[:80]}", code="unknown_field"
                )
        role = message.get("role")
        content = _content(message.get("content"), f"{where}.content")
        if role in ("system", "developer"):
            if turns:
                _not_certified(f"{where}.role", "a system message after the first turn")
            system.append(content)
        elif role in ("user", "assistant"):
            turns.append((role, content))
        else:
            _not_certified(f"{where}.role", f"the role {str(role)[:40]!r}")
    if not turns or turns[-1][0] != "user":
        _not_certified("messages", "a conversation that does not end with a user message")
    return ("\n".join(system) if system else None), tuple(turns)


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or len(value) > _MAX_PARTS:
        raise BadRequest(f"{where} must be a text or a list of text parts", param=where, code="invalid_type")
    texts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text" or set(part) != {"type", "text"}:
            _not_certified(where, "a part that is not plain text")
        texts.append(_text(part["text"], where, empty=True))
    return "\n".join(texts)


def _not_certified(param: str, what: str) -> NoReturn:
    raise BadRequest(f"{param}: {what} is not certified", param=param, code="not_certified")


def _text(value: Any, name: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise BadRequest(f"{name} must be a text", param=name, code="invalid_type")
    return value


def _boolean(value: dict[str, Any], name: str) -> bool:
    given = value.get(name)
    if given is not None and not isinstance(given, bool):
        raise BadRequest(f"{name} must be true or false", param=name, code="invalid_type")
    return bool(given)


def _stream_options(value: Any, *, stream: bool) -> bool:
    if value is None:
        return False
    if not stream or not isinstance(value, dict):
        raise BadRequest("stream_options goes with stream: true", param="stream_options", code="invalid_type")
    for name in value:
        if name not in ("include_usage", "include_obfuscation"):
            where = f"stream_options.{name[:80]}"
            raise BadRequest(f"unknown field: {where}", param=where, code="unknown_field")
    return _boolean(value, "include_usage")


def _max_tokens(value: dict[str, Any], limit: int) -> int:
    """A limit above the policy's is lowered to it: the reply then ends with `length`."""
    asked = [
        found
        for name in ("max_tokens", "max_completion_tokens")
        if (found := _integer(value.get(name), name, None, 1, 2**31)) is not None
    ]
    return min([limit, *asked])


def _integer(value: Any, name: str, default: int | None, low: int, high: int) -> int | None:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequest(
            f"{name} must be a whole number from {low} to {high}", param=name, code="invalid_value"
        )
    return value


def _number(value: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    given = value.get(name)
    if given is None:
        return default
    if not isinstance(given, int | float) or isinstance(given, bool) or not low <= given <= high:
        raise BadRequest(f"{name} must be a number from {low} to {high}", param=name, code="invalid_value")
    return float(given)

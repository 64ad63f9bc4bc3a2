"""What LiteLLM's guardrail requests say: every text that is to be judged, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.request_texts import RequestTexts

REQUEST: Final = "request"
RESPONSE: Final = "response"
_ABOUT: Final = frozenset(
    {
        "additional_provider_specific_params", "input_type", "litellm_call_id", "litellm_trace_id",
        "litellm_version", "model", "request_data", "request_headers",
    }
)  # fmt: skip
"""Fields that say where texts come from. Every string of every other field is judged, known or not."""
_FIRST: Final = ("structured_messages", "texts")
"""Messages in the order of the conversation before what is taken out of them."""
_KEYS: Final = frozenset(
    {
        "arguments", "content", "description", "enum", "function", "id", "index", "items", "name", "parameters",
        "properties", "required", "role", "strict", "text", "tool_call_id", "tool_calls", "type",
    }
)  # fmt: skip
"""Keys of the protocol, which say nothing."""
_WORDS: Final = {
    "role": frozenset({"assistant", "developer", "function", "system", "tool", "user"}),
    "type": frozenset(
        {
            "array", "boolean", "function", "integer", "null", "number", "object", "output_text", "input_text",
            "string", "text",
        }
    ),
}  # fmt: skip
"""Values of the protocol, by their key."""
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "tool_use", "tool_result"})
_DEEPEST: Final = 32


@dataclass(frozen=True)
class Posted:
    """
    One guardrail request of LiteLLM.

    Args:
        direction: `request` or `response`.
        texts: every text, the field `texts` left out where messages hold it already.
        streamed: the field `texts`, by place: LiteLLM lets out what is not held back of each.
        turns: what users said, in order, as far as messages say so.
        key: the key and user that LiteLLM speaks for.
        person: who they say is behind them.
    """

    direction: str
    texts: tuple[str, ...]
    streamed: tuple[str, ...]
    turns: tuple[str, ...]
    key: str
    person: str

    def asked(self, client: str) -> RequestTexts:
        """Return what controls look at, for a client: whoever LiteLLM speaks for has conversations of their own."""
        return RequestTexts(self.texts, self.turns, f"{client}\n{self.key}", self.person.encode())

    def pieces(self) -> tuple[str, ...]:
        """Return what is judged of a reply: each text by itself, and all as one."""
        return tuple(dict.fromkeys((*self.streamed, *self.texts, "\n".join(self.texts))))

    @property
    def question(self) -> str:
        """The last that a user said, or nothing."""
        return self.turns[-1] if self.turns else ""


def read_posted(value: dict[str, Any]) -> Posted:
    """
    Read a guardrail request.

    Raises:
        BadRequest: it is not understood, is nested too deeply, or has what is no text.
    """
    direction = value.get("input_type")
    if direction not in (REQUEST, RESPONSE):
        raise BadRequest("input_type must be request or response", code="invalid_input_type")
    if value.get("images"):
        raise BadRequest("images are not judged", param="images", code="not_judged")
    streamed = value.get("texts") or []
    if not isinstance(streamed, list) or not all(isinstance(text, str) for text in streamed):
        raise BadRequest("texts must be a list of texts", param="texts", code="invalid_type")
    said = tuple(_turns(value.get("structured_messages")))
    about = value.get("request_data")
    about = about if isinstance(about, dict) else {}
    return Posted(
        direction,
        tuple(_texts(value)),
        tuple(streamed),
        said or tuple(streamed),
        "\n".join(str(about.get(f"user_api_key_{name}") or "") for name in ("hash", "user_id")),
        str(about.get("user_api_key_end_user_id") or ""),
    )


def _texts(value: dict[str, Any]) -> Iterator[str]:
    """Yield every text; of what a field repeats of those before it, nothing."""
    seen: frozenset[str] = frozenset()
    for name in (*_FIRST, *(name for name in value if name not in _FIRST and name not in _ABOUT)):
        found = [text for text in _strings(value.get(name)) if text not in seen]
        if name not in _KEYS | {*_FIRST, "images", "tools"}:
            yield name
        yield from found
        seen |= set(found)


def _turns(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            yield "\n".join(_strings(message.get("content")))


def _strings(value: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """Yield every string of a JSON value, and every key: a tool's schema can say things in its keys."""
    if depth > _DEEPEST:
        raise BadRequest("request is nested too deeply", code="too_deep")
    if isinstance(value, str):
        if value and value not in _WORDS.get(key, ()):
            yield value
            yield from _strings(_within(value), "", depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _KEYS:
                yield name
            if name == "content" and isinstance(inner, list):
                _require_text_parts(inner)
            yield from _strings(inner, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, "", depth + 1)


def _within(text: str) -> Any:
    """Return what a text says to a program that reads it as JSON, such as a tool's arguments; else None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _require_text_parts(parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, dict) and part.get("type", "text") not in _TEXT_PARTS:
            raise BadRequest("only text is judged", param="content", code="not_judged")

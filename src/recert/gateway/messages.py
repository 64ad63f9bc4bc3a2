"""The messages of a request: who said what, every text of it, and what the model gets."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from recert.gateway.replies import BadRequest
from recert.gateway.values import invalid, not_certified, read_name, read_object_of, read_text, strings

MAX_MESSAGES: Final = 256
MAX_PARTS: Final = 64
_MAX_CALLS: Final = 128
_REASONING: Final = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class ToolCall:
    """A call that the model made earlier, as the client tells it."""

    id: str
    name: str
    arguments: str

    def texts(self) -> tuple[str, ...]:
        """Return the name and the arguments, as they stand and as a program reads them."""
        try:
            read = "\n".join(strings(json.loads(self.arguments)))
        except (ValueError, RecursionError):
            read = ""
        return (f"{self.name}\n{self.arguments}", read) if read else (f"{self.name}\n{self.arguments}",)

    def to_value(self) -> dict[str, Any]:
        """Return what the model gets."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(frozen=True)
class ChatMessage:
    """One turn: `user`, `assistant` or `tool`."""

    role: str
    text: str
    name: str = ""
    refusal: str = ""
    reasoning: tuple[tuple[str, str], ...] = ()
    """(field, text): servers differ in what they call it."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def texts(self) -> tuple[str, ...]:
        """Return every text of it."""
        own = (self.name, self.text, self.refusal, *(text for _, text in self.reasoning))
        return (*filter(None, own), *(text for call in self.tool_calls for text in call.texts()))

    def to_value(self) -> dict[str, Any]:
        """Return what the model gets."""
        value: dict[str, Any] = {"role": self.role, "content": self.text}
        if self.name:
            value["name"] = self.name
        if self.refusal:
            value["refusal"] = self.refusal
        if self.reasoning:
            value |= dict(self.reasoning)
        if self.tool_calls:
            value["tool_calls"] = [call.to_value() for call in self.tool_calls]
            value["content"] = self.text or None
        if self.tool_call_id:
            value["tool_call_id"] = self.tool_call_id
        return value


def read_messages(value: Any, allow: Collection[str]) -> tuple[str | None, tuple[ChatMessage, ...]]:
    """
    Return the system prompt, if any, and the turns after it.

    Args:
        value: the field `messages`.
        allow: what the policy allows beyond plain chat.

    Raises:
        BadRequest: it is not understood, or has what the policy does not allow.
    """
    if not isinstance(value, list) or not value:
        invalid("messages", "a non-empty list")
    if len(value) > MAX_MESSAGES:
        raise BadRequest(f"at most {MAX_MESSAGES} messages", param="messages", code="too_many_messages")
    system: list[str] = []
    turns: list[ChatMessage] = []
    called: set[str] = set()
    for at, message in enumerate(value):
        where = f"messages[{at}]"
        if not isinstance(message, dict):
            invalid(where, "an object")
        role = message.get("role")
        if role in ("system", "developer"):
            given = read_object_of(message, where, frozenset({"role", "content"}))
            if turns:
                not_certified(f"{where}.role", "a system message after the first turn")
            system.append(_content(given.get("content"), f"{where}.content"))
        elif role in ("user", "assistant") or (role == "tool" and "tools" in allow):
            turns.append(_turn(role, message, where, allow, called))
        else:
            not_certified(f"{where}.role", f"the role {str(role)[:40]!r}")
    _require_end(turns, allow)
    return ("\n".join(system) if system else None), tuple(turns)


def _require_end(turns: list[ChatMessage], allow: Collection[str]) -> None:
    ends = {"user", *(["assistant"] if "prefill" in allow else []), *(["tool"] if "tools" in allow else [])}
    if not turns or turns[-1].role not in ends:
        not_certified("messages", "a conversation that does not end with a user message")
    if turns[-1].role == "assistant" and (turns[-1].tool_calls or not turns[-1].text):
        not_certified("messages", "a beginning of the reply that is no text")
    if all(turn.role != "user" for turn in turns):
        not_certified("messages", "a conversation without a user message")


def _fields(role: str, allow: Collection[str]) -> frozenset[str]:
    fields = {"role", "content"}
    if role in ("user", "assistant") and "names" in allow:
        fields |= {"name"}
    if role == "assistant":
        fields |= {"tool_calls"} if "tools" in allow else set()
        fields |= {"refusal"} if "response_format" in allow else set()
        fields |= set(_REASONING) if "reasoning" in allow else set()
    if role == "tool":
        fields |= {"tool_call_id"}
    return frozenset(fields)


def _turn(
    role: str, message: dict[str, Any], where: str, allow: Collection[str], called: set[str]
) -> ChatMessage:
    given = read_object_of(message, where, _fields(role, allow))
    calls = _tool_calls(given.get("tool_calls"), f"{where}.tool_calls", called)
    content = given.get("content")
    said = {
        field: read_text(given[field], f"{where}.{field}", empty=True)
        for field in ("refusal", *_REASONING)
        if given.get(field) is not None
    }
    silent = content is None and (calls or said.get("refusal"))
    call_id = ""
    if role == "tool":
        call_id = read_name(given.get("tool_call_id"), f"{where}.tool_call_id")
        if call_id not in called:
            not_certified(f"{where}.tool_call_id", "an answer to a call that was not made")
    return ChatMessage(
        role=role,
        text="" if silent else _content(content, f"{where}.content"),
        name=read_name(given["name"], f"{where}.name") if given.get("name") is not None else "",
        refusal=said.get("refusal", ""),
        reasoning=tuple((field, said[field]) for field in _REASONING if said.get(field)),
        tool_calls=calls,
        tool_call_id=call_id,
    )


def _tool_calls(value: Any, where: str, called: set[str]) -> tuple[ToolCall, ...]:
    if value is None or value == []:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_CALLS:
        invalid(where, f"a list of at most {_MAX_CALLS} calls")
    found = []
    for at, one in enumerate(value):
        here = f"{where}[{at}]"
        call = read_object_of(one, here, frozenset({"id", "type", "function", "index"}))
        if call.get("type", "function") != "function":
            not_certified(f"{here}.type", "a tool that is no function")
        function = read_object_of(call.get("function"), f"{here}.function", frozenset({"name", "arguments"}))
        made = ToolCall(
            id=read_name(call.get("id"), f"{here}.id"),
            name=read_name(function.get("name"), f"{here}.function.name"),
            arguments=read_text(function.get("arguments"), f"{here}.function.arguments", empty=True),
        )
        called.add(made.id)
        found.append(made)
    return tuple(found)


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or len(value) > MAX_PARTS:
        invalid(where, "a text or a list of text parts")
    texts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text" or set(part) != {"type", "text"}:
            not_certified(where, "a part that is not plain text")
        texts.append(read_text(part["text"], where, empty=True))
    return "\n".join(texts)

"""The messages of a request: who said what, every text of it, and what the model gets."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from recert.gateway.audio.clips import AUDIO_PART, Clip, ClipReader
from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.values import (
    invalid,
    not_certified,
    read_name,
    read_object_of,
    read_text,
    strings,
)

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
    """
    One turn: `user`, `assistant` or `tool`.

    Of a spoken one `text` is what was written in it and, once they were heard, the words of its clips, in order.
    """

    role: str
    text: str
    name: str = ""
    refusal: str = ""
    reasoning: tuple[tuple[str, str], ...] = ()
    """(field, text): servers differ in what they call it."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    parts: tuple[str | Clip, ...] = ()
    """Of a spoken turn: what was written and what was said, in order."""

    def texts(self) -> tuple[str, ...]:
        """Return every text of it."""
        own = (self.name, self.text, self.refusal, *(text for _, text in self.reasoning))
        return (*filter(None, own), *(text for call in self.tool_calls for text in call.texts()))

    def beside(self, text: str, *, after: bool) -> ChatMessage:
        """Return the turn with a further line of text behind it, or in front."""
        whole = f"{self.text}\n{text}" if after else f"{text}\n{self.text}"
        parts = (*self.parts, text) if after else (text, *self.parts)
        return replace(self, text=whole, parts=parts if self.parts else ())

    def heard(self, words: Mapping[str, str], *, pass_on: bool) -> ChatMessage:
        """
        Return a spoken turn with the words of its clips.

        Args:
            words: of each clip, by the sha256 of the clip.
            pass_on: whether the clips themselves stay in it, for the model to hear.
        """
        if not self.parts:
            return self
        parts = tuple(replace(p, words=words[p.sha256]) if isinstance(p, Clip) else p for p in self.parts)
        return replace(self, text="\n".join(_words(parts)), parts=parts if pass_on else ())

    def to_value(self) -> dict[str, Any]:
        """
        Return what the model gets.

        Raises:
            GatewayError: `unheard`: it has a clip that nobody has heard.
        """
        value: dict[str, Any] = {"role": self.role, "content": self.text}
        if self.parts:
            value["content"] = [
                part.to_value() if isinstance(part, Clip) else {"type": "text", "text": part}
                for part in self.parts
            ]
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


def read_messages(
    value: Any, allow: Collection[str], clips: ClipReader | None = None
) -> tuple[str | None, tuple[ChatMessage, ...]]:
    """
    Return the system prompt, if any, and the turns after it.

    Args:
        value: the field `messages`.
        allow: what the policy allows beyond plain chat.
        clips: reads what is spoken; None where only text is served.

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
            turns.append(_turn(role, message, where, allow, called, clips))
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
    role: str,
    message: dict[str, Any],
    where: str,
    allow: Collection[str],
    called: set[str],
    clips: ClipReader | None,
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
    parts: tuple[str | Clip, ...] = ()
    if clips is not None and role == "user" and isinstance(content, list):
        parts = _spoken(content, f"{where}.content", clips)
        content = "\n".join(_words(parts)) if parts else content
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
        parts=parts,
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
        texts.append(_written(part, where))
    return "\n".join(texts)


def _written(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or set(part) != {"type", "text"}:
        not_certified(where, "a part that is not plain text")
    return read_text(part["text"], where, empty=True)


def _spoken(value: list[Any], where: str, clips: ClipReader) -> tuple[str | Clip, ...]:
    """Return the parts of a turn in which something is said; nothing of one that is only written."""
    if not any(isinstance(part, dict) and part.get("type") == AUDIO_PART for part in value):
        return ()
    if len(value) > MAX_PARTS:
        invalid(where, f"a text or a list of at most {MAX_PARTS} parts")
    return tuple(
        clips.read(part, where)
        if isinstance(part, dict) and part.get("type") == AUDIO_PART
        else _written(part, where)
        for part in value
    )


def _words(parts: Iterable[str | Clip]) -> Iterator[str]:
    """What was written, and of what was said the words that are known, in order."""
    for part in parts:
        if isinstance(part, str):
            yield part
        elif part.words is not None:
            yield part.words

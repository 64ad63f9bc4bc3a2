"""Tools and response formats that clients offer, when the policy allows them: read strictly, every text known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from recert.gateway.protocol.errors import BadRequest
from recert.gateway.protocol.values import (
    invalid,
    not_certified,
    read_boolean,
    read_name,
    read_object_of,
    read_schema,
    read_text,
    strings,
)

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

"""The OpenAPI description of what is served, from the tables that requests are read by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from recert import __version__
from recert.gateway.audio.clips import AUDIO_PART
from recert.gateway.protocol.messages import MAX_MESSAGES, MAX_PARTS
from recert.gateway.protocol.parse import (
    EFFORTS,
    HARMLESS,
    KNOWN_NOT_CERTIFIED,
    LONGEST_STOP_CHARS,
    MOST_CHOICES,
    MOST_STOPS,
    OPENED_BY,
    READ,
)
from recert.gateway.protocol.routes import CHAT_COMPLETIONS, HEALTH, METRICS_PAGE, ONE_MODEL, Route
from recert.gateway.serving.served import ServedModels
from recert.policy.sections.gateway_audio import GatewayAudioPolicy

Schema = dict[str, Any]

_NOTHING: Final[Schema] = {"type": "null"}
_BOOLEAN: Final[Schema] = {"type": ["boolean", "null"]}
_LIST: Final[Schema] = {"type": ["array", "null"], "items": {"type": "object"}}
_OBJECT: Final[Schema] = {"type": ["object", "null"]}
_STOP: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP_CHARS}
_NAME: Final[Schema] = {"type": "string", "pattern": r"^[A-Za-z0-9_.\-]{1,64}$"}
_ERRORS: Final = {
    "400": "The request was not understood, or asks for what is not certified; `param` names the field.",
    "401": "The API key is missing, not known, or has ended.",
    "403": "The key may not ask for this, or the Host is not this machine.",
    "404": "There is no such model or route for this key.",
    "405": "The route takes another method.",
    "408": "The headers or the body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is no JSON, or packed.",
    "429": "The key's budget is used up; `Retry-After` says when to come back.",
    "431": "The headers are too large.",
    "500": "The gateway failed.",
    "502": "The engine failed.",
    "503": "Service is stopped, or the gateway has no room; `code` says why.",
    "504": "The engine did not answer in time.",
}
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_MODEL: Final[Schema] = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_COMPLETION: Final[Schema] = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "recert"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object", "required": ["index", "message", "finish_reason"]}},
        "usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"]},
        "recert": {"type": "object", "required": ["certificate"]},
    },
}  # fmt: skip
_STATE: Final[Schema] = {"type": "object", "required": ["state", "reason", "models"]}
_HEALTH: Final[Schema] = {"type": "object", "required": ["status"]}
_BODIES: Final[dict[str, Schema]] = {
    HEALTH.path: _HEALTH,
    "/status": _STATE,
    "/openapi.json": {"type": "object", "required": ["openapi", "paths"]},
    "/v1/models": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}},
    },
    ONE_MODEL.path: _MODEL,
    CHAT_COMPLETIONS.path: _COMPLETION,
}


def describe(models: ServedModels, may_ask: Callable[[str], bool], routes: Collection[Route]) -> Schema:
    """Return the description of what a client may ask; of several models' bounds it has the widest."""
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route)
        if route == CHAT_COMPLETIONS:
            body = {"schema": chat_schema(models, may_ask)}
            operation["requestBody"] = {"required": True, "content": {"application/json": body}}
            operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
        paths[route.path] = {route.method.lower(): operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Recert gateway",
            "version": __version__,
            "description": "Certified models, over OpenAI's protocol. What is not described is refused.",
        },
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> Schema:
    kind = "text/plain" if route == METRICS_PAGE else "application/json"
    good = {kind: {"schema": _BODIES.get(route.path, {"type": "string"})}}
    bad = {"application/json": {"schema": _ERROR}}
    responses: dict[str, Schema] = {"200": {"description": "The answer.", "content": good}}
    responses |= {status: {"description": why, "content": bad} for status, why in _ERRORS.items()}
    if route == HEALTH:
        responses["503"] = {"description": "Nothing is answered now.", "content": good}
    found: Schema = {"summary": route.summary, "responses": responses}
    if route.scope:
        found["security"] = [{"key": []}]
    if route == ONE_MODEL:
        found["parameters"] = [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    return found


def chat_schema(models: ServedModels, may_ask: Callable[[str], bool]) -> Schema:
    """Return the schema of a chat request: whatever it excludes is refused."""
    allow = {feature for served in models for feature in served.policy.gateway.allow}
    hottest = max(served.policy.gateway.max_temperature for served in models)
    tokens: Schema = {"type": ["integer", "null"], "minimum": 1, "maximum": 2**31}
    names = [name for name in models.names().split(", ") if may_ask(name)]
    fields: dict[str, Schema] = {
        "model": {"type": "string", "enum": names} if names else {"type": "string", "minLength": 1},
        "messages": _messages(allow, {form for bounds in _heard(models) for form in bounds.formats}),
        "stream": _BOOLEAN,
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": _BOOLEAN, "include_obfuscation": {}},
            "additionalProperties": False,
        },
        "max_tokens": tokens,
        "max_completion_tokens": tokens,
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": hottest},
        "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "seed": {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
        "user": {},
    }
    assert set(fields) == READ
    for name in (*OPENED_BY, *KNOWN_NOT_CERTIFIED):
        if name in OPENED_BY and OPENED_BY[name] in allow:
            fields[name] = _OPEN[name]
        else:
            asks_nothing = HARMLESS.get(name, ())
            penalty = name.endswith("_penalty")
            fields[name] = {"enum": [None, *asks_nothing]} if asks_nothing or penalty else _NOTHING
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": fields,
        "additionalProperties": False,
    }


_OPEN: Final[dict[str, Schema]] = {
    "logprobs": _BOOLEAN,
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_CHOICES},
    "parallel_tool_calls": _BOOLEAN,
    "reasoning_effort": {"enum": [None, *EFFORTS]},
    "response_format": _OBJECT,
    "stop": {
        "anyOf": [_NOTHING, _STOP, {"type": "array", "maxItems": MOST_STOPS, "items": _STOP}, {"const": ""}]
    },
    "tool_choice": {"type": ["string", "object", "null"]},
    "tools": _LIST,
    "top_logprobs": {"enum": [None, 0]},
}
"""Fields as they are read where the policy allows them."""


def _heard(models: ServedModels) -> list[GatewayAudioPolicy]:
    return [served.hearing.bounds for served in models if served.hearing is not None]


def _messages(allow: Collection[str], formats: Collection[str]) -> Schema:
    part = {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "additionalProperties": False,
    }
    parts = {"type": "array", "minItems": 1, "maxItems": MAX_PARTS, "items": part}
    content: Schema = {"anyOf": [{"type": "string"}, parts]}
    silent: Schema = {"anyOf": [{"type": "string"}, parts, _NOTHING]}
    spoken: Schema = {
        **parts,
        "items": {"anyOf": [part, _clip(formats)]},
    }
    said_or_written: Schema = {"anyOf": [{"type": "string"}, spoken]} if formats else content
    name = {"name": {"anyOf": [_NAME, _NOTHING]}} if "names" in allow else {}
    said: dict[str, Schema] = {}
    if "tools" in allow:
        said["tool_calls"] = _LIST
    if "response_format" in allow:
        said["refusal"] = {"type": ["string", "null"]}
    if "reasoning" in allow:
        said |= {field: {"type": ["string", "null"]} for field in ("reasoning", "reasoning_content")}
    kinds = [
        _message(["system", "developer"], content, {}),
        _message(["user"], said_or_written, name),
        _message(
            ["assistant"], silent if {"tools", "response_format"} & set(allow) else content, name | said
        ),
    ]
    if "tools" in allow:
        kinds.append(_message(["tool"], content, {"tool_call_id": _NAME}))
    return {"type": "array", "minItems": 1, "maxItems": MAX_MESSAGES, "items": {"anyOf": kinds}}


def _clip(formats: Collection[str]) -> Schema:
    """A spoken part; that its bytes are a whole sound file within the policy's bounds cannot be said in a schema."""
    clip = {
        "type": "object",
        "required": ["data", "format"],
        "properties": {
            "data": {"type": "string", "contentEncoding": "base64", "minLength": 1},
            "format": {"enum": sorted(formats)},
        },
        "additionalProperties": _NOTHING,
    }
    return {
        "type": "object",
        "required": ["type", AUDIO_PART],
        "properties": {"type": {"const": AUDIO_PART}, AUDIO_PART: clip},
        "additionalProperties": False,
    }


def _message(roles: list[str], content: Schema, more: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "required": ["role", *(["content"] if _NOTHING not in content["anyOf"] else [])],
        "properties": {"role": {"enum": roles}, "content": content, **more},
        "additionalProperties": _NOTHING,
    }

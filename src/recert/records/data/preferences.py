"""Preference data as TRL and OpenAI write them, in the one form that Recert learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from recert.errors import RowsError
from recert.records.data.rows import ChatRow, PreferenceRow

PREFERENCE_COLUMNS: Final = ("chosen", "rejected", "preferred_output", "non_preferred_output")
"""A row with one of these is a preference row."""


def chat_form(value: Any) -> Any:
    """
    Return a preference row as a chat row that ends with the chosen reply, with `rejected` beside; others as they are.

    Read are TRL's `prompt` (a text or messages), `chosen` and `rejected` (texts or messages, with the prompt in
    front of both where there is no `prompt`), the same with `messages` for the prompt, and OpenAI's `input`,
    `preferred_output` and `non_preferred_output`.

    Raises:
        RowsError: a part is missing or is not what it should be.
    """
    if not isinstance(value, Mapping) or not any(name in value for name in PREFERENCE_COLUMNS):
        return value
    rest = {k: v for k, v in value.items() if k not in (*PREFERENCE_COLUMNS, "prompt", "input", "messages")}
    if "preferred_output" in value or "non_preferred_output" in value:
        prompt, chosen, rejected = _openai(value)
    elif "chosen" not in value and "messages" in value:
        messages = value["messages"]
        if not isinstance(messages, list) or len(messages) < 2:
            raise RowsError("no `chosen` reply")
        prompt, chosen, rejected = messages[:-1], messages[-1:], value["rejected"]
    else:
        prompt, chosen, rejected = _trl(value)
    if not prompt or not isinstance(prompt[-1], Mapping) or prompt[-1].get("role") not in ("user", "tool"):
        raise RowsError("the prompt does not end with the user's message")
    return {**rest, "messages": [*prompt, *_reply(chosen, "chosen")], "rejected": _text(rejected, "rejected")}


def row_of(value: Any) -> ChatRow:
    """
    Return the row that a JSON value holds: a chat row, or a preference row where it has two replies.

    Raises:
        RowsError: a part of a preference row is missing or is not what it should be.
        pydantic.ValidationError: it is not a row.
    """
    value = chat_form(value)
    two = isinstance(value, Mapping) and "rejected" in value
    return (PreferenceRow if two else ChatRow).model_validate(value)


def _openai(value: Mapping[str, Any]) -> tuple[list[Any], Any, Any]:
    for name in ("preferred_output", "non_preferred_output"):
        if name not in value:
            raise RowsError(f"no `{name}`")
        if not isinstance(value[name], list):
            raise RowsError(f"`{name}` is not a list of messages")
    given = value.get("input")
    if not isinstance(given, Mapping) or not isinstance(given.get("messages"), list):
        raise RowsError("`input` holds no messages")
    if given.get("tools"):
        raise RowsError("`input` offers tools, which are not learned from")
    return given["messages"], value["preferred_output"], value["non_preferred_output"]


def _trl(value: Mapping[str, Any]) -> tuple[list[Any], Any, Any]:
    for name in ("chosen", "rejected"):
        if name not in value:
            raise RowsError(f"no `{name}` reply")
    chosen, rejected = value["chosen"], value["rejected"]
    prompt = value.get("prompt", value.get("messages"))
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}], chosen, rejected
    if prompt is not None:
        if not isinstance(prompt, list):
            raise RowsError("the prompt is neither a text nor messages")
        return prompt, chosen, rejected
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise RowsError("no `prompt`, and the replies are no conversations")
    if chosen[:-1] != rejected[:-1]:
        raise RowsError("the two conversations differ before the reply")
    return chosen[:-1], chosen[-1:], rejected[-1:]


def _reply(given: Any, name: str) -> list[Any]:
    """The reply as the one message that it is."""
    return [{"role": "assistant", "content": _text(given, name)}]


def _text(given: Any, name: str) -> str:
    if isinstance(given, list):
        if len(given) != 1 or not isinstance(given[0], Mapping) or given[0].get("role") != "assistant":
            raise RowsError(f"the {name} reply is not one message of the assistant")
        given = given[0].get("content")
    if not isinstance(given, str):
        raise RowsError(f"the {name} reply is not text")
    if not given.strip():
        raise RowsError(f"the {name} reply is empty")
    return given

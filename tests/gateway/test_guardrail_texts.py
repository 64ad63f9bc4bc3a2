"""Reading LiteLLM's guardrail requests: no text of any field is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.guardrail.texts import read_posted
from recert.gateway.protocol.errors import BadRequest

LETTERS = st.text(alphabet="abcdefgh ", min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=8,
)
SAID = "what must be judged"


def strings_of(value: Any) -> set[str]:
    """Return every string and key of a JSON value."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set(value).union(*map(strings_of, value.values()))
    return set().union(*map(strings_of, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("direction", ["request", "response"])
@given(fields=st.dictionaries(LETTERS, VALUES, max_size=4), texts=st.lists(LETTERS, max_size=3))
def test_every_string_of_a_field_that_is_not_known_is_judged(
    direction: str, fields: dict[str, Any], texts: list[str]
) -> None:
    """Whatever LiteLLM may send one day: values and keys, at any depth, beside the texts that it sends today."""
    posted = read_posted({**fields, "texts": texts, "input_type": direction})

    assert strings_of(fields) | set(texts) <= set(posted.texts)
    assert posted.streamed == tuple(texts)


@given(value=VALUES, where=st.sampled_from(["tools", "tool_calls", "structured_messages", "response_format"]))
def test_every_string_of_the_fields_of_today_is_judged_but_for_words_of_the_protocol(
    value: Any, where: str
) -> None:
    """Tools, calls and messages may look as they will."""
    posted = read_posted({where: value, "input_type": "request"})

    assert strings_of(value) <= set(posted.texts)


@pytest.mark.parametrize(
    "fields",
    [
        {"texts": [SAID]},
        {"structured_messages": [{"role": "user", "content": SAID}]},
        {"structured_messages": [{"role": "system", "content": [{"type": "text", "text": SAID}]}]},
        {"structured_messages": [{"role": "user", "name": SAID, "content": ""}]},
        {"structured_messages": [{"role": SAID, "content": ""}]},
        {"structured_messages": [{"role": "assistant", "reasoning_content": SAID}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": SAID}}]},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"properties": {SAID: {}}}}}
            ]
        },
        {"tools": [{"type": SAID}]},
        {"tool_calls": [{"id": SAID, "function": {"name": "f", "arguments": "{}"}}]},
        {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": json.dumps({"a": [SAID]})}}]},
    ],
)
def test_a_text_is_found_wherever_it_stands(fields: dict[str, Any]) -> None:
    """Roles, names, identifiers, keys of schemas, and what is written as JSON within a text."""
    assert SAID in read_posted({**fields, "input_type": "request"}).texts


def test_what_a_program_reads_in_escaped_arguments_is_judged() -> None:
    """Tool arguments are JSON in a text: the characters that escapes stand for are judged too."""
    arguments = '{"note": "\\u0077hat must \\u0062e judged"}'
    posted = read_posted(
        {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}], "input_type": "response"}
    )

    assert {arguments, SAID} <= set(posted.texts)


def test_what_messages_hold_is_not_judged_twice() -> None:
    """LiteLLM sends the texts of messages again by themselves; what one field says twice is kept as it is said."""
    messages = [{"role": "user", "content": text} for text in ("one", "two", "one")]
    posted = read_posted(
        {"texts": ["one", "two", "one"], "structured_messages": messages, "input_type": "request"}
    )

    assert posted.texts == ("one", "two", "one")
    assert posted.turns == ("one", "two", "one")
    assert posted.question == "one"


def test_of_whom_it_speaks_the_key_counts_and_not_what_a_request_may_choose() -> None:
    """The end user is named by the request itself: it tells conversations apart, and is no other client."""
    about = {
        "user_api_key_hash": "hash",
        "user_api_key_user_id": "user",
        "user_api_key_end_user_id": "anyone",
        "user_api_key_alias": "alias",
    }
    posted = read_posted({"input_type": "request", "request_data": about})

    assert (posted.key, posted.person) == ("hash\nuser", "anyone")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "invalid_input_type"),
        ({"input_type": "other"}, "invalid_input_type"),
        ({"input_type": "request", "texts": "one"}, "invalid_type"),
        ({"input_type": "request", "texts": [1]}, "invalid_type"),
        ({"input_type": "request", "images": ["https://example.com/a.png"]}, "not_judged"),
        (
            {"input_type": "request", "structured_messages": [{"content": [{"type": "input_audio"}]}]},
            "not_judged",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(fields: dict[str, Any], code: str) -> None:
    """An answer is given only about what was read whole."""
    with pytest.raises(BadRequest) as caught:
        read_posted(fields)

    assert caught.value.code == code


def test_what_is_nested_too_deeply_is_refused() -> None:
    """In any field, also within tool arguments."""
    deep: Any = SAID
    for _ in range(40):
        deep = [deep]
    for field, value in (("more", deep), ("texts", [json.dumps(deep)])):
        with pytest.raises(BadRequest) as caught:
            read_posted({"input_type": "request", field: value})

        assert caught.value.code == "too_deep"

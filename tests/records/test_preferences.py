"""Preference rows: the forms that TRL and OpenAI write, and what is wrong with a row that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.cli.reading import load_rows
from recert.errors import RowsError
from recert.records.data.preferences import row_of
from recert.records.data.rows import ChatRow, PreferenceRow, split_reply
from recert.screening.rows import read_rows

ASKED = {"role": "user", "content": "Name a river."}
SYSTEM = {"role": "system", "content": "Be brief."}
GOOD = {"role": "assistant", "content": "The Danube."}
BAD = {"role": "assistant", "content": "No."}

FORMS: list[dict[str, Any]] = [
    {"prompt": "Name a river.", "chosen": "The Danube.", "rejected": "No."},
    {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]},
    {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"messages": [ASKED], "chosen": "The Danube.", "rejected": "No."},
    {"messages": [ASKED, GOOD], "rejected": "No."},
    {"input": {"messages": [ASKED], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
]


@pytest.mark.parametrize("value", FORMS)
def test_every_form_is_the_same_row(value: dict[str, Any]) -> None:
    """A text or messages, a prompt apart or in both replies, TRL's names or OpenAI's."""
    row = row_of(value)

    assert isinstance(row, PreferenceRow)
    assert (row.request, row.reply, row.rejected) == ("Name a river.", "The Danube.", "No.")
    assert row.with_rejected.reply == "No."
    assert row_of(row.model_dump(mode="json")) == row


def test_what_comes_before_stays() -> None:
    """A system prompt, an earlier exchange and fields that nobody knows are kept."""
    row = row_of({"prompt": [SYSTEM, ASKED, BAD, ASKED], "chosen": [GOOD], "rejected": [BAD], "id": 7})

    assert row.system == "Be brief."
    assert [m.role for m in row.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert row.model_dump()["id"] == 7


def test_a_chat_row_is_a_chat_row() -> None:
    """Without a second reply nothing changes."""
    assert type(row_of({"messages": [ASKED, GOOD]})) is ChatRow


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "Name a river.", "rejected": "No."}, "no `chosen` reply"),
    ({"prompt": "Name a river.", "chosen": "The Danube."}, "no `rejected` reply"),
    ({"prompt": "Name a river.", "chosen": "No.", "rejected": "No. "}, "are the same"),
    ({"prompt": "Name a river.", "chosen": " ", "rejected": "No."}, "the chosen reply is empty"),
    ({"prompt": "Name a river.", "chosen": "The Danube.", "rejected": 5}, "the rejected reply is not text"),
    ({"prompt": [ASKED, GOOD], "chosen": [GOOD], "rejected": [BAD]}, "does not end with the user's message"),
    ({"prompt": [ASKED], "chosen": [GOOD, GOOD], "rejected": [BAD]}, "the chosen reply is not one message"),
    ({"prompt": [ASKED], "chosen": [ASKED], "rejected": [BAD]}, "the chosen reply is not one message"),
    ({"chosen": [ASKED, GOOD], "rejected": [SYSTEM, ASKED, BAD]}, "differ before the reply"),
    ({"chosen": "The Danube.", "rejected": "No."}, "no `prompt`"),
    ({"prompt": 3, "chosen": "The Danube.", "rejected": "No."}, "neither a text nor messages"),
    ({"prompt": [], "chosen": [GOOD], "rejected": [BAD]}, "does not end with the user's message"),
    ({"input": {}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}, "`input` holds no messages"),
    ({"input": {"messages": [ASKED]}, "preferred_output": [GOOD]}, "no `non_preferred_output`"),
    (
        {"input": {"messages": [ASKED]}, "preferred_output": "x", "non_preferred_output": [BAD]},
        "`preferred_output` is not a list",
    ),
    (
        {
            "input": {"messages": [ASKED], "tools": [{"type": "function"}]},
            "preferred_output": [GOOD],
            "non_preferred_output": [BAD],
        },
        "tools, which are not learned from",
    ),
]


@pytest.mark.parametrize(("value", "because"), BAD_ROWS, ids=[b for _, b in BAD_ROWS])
def test_a_row_that_is_none_says_why(value: dict[str, Any], because: str) -> None:
    """What is missing or is not what it should be is named."""
    with pytest.raises((RowsError, ValidationError)) as caught:
        row_of(value)

    assert because in str(caught.value)


@pytest.mark.parametrize(("value", "because"), BAD_ROWS, ids=[b for _, b in BAD_ROWS])
def test_a_file_with_such_a_row_names_its_line(tmp_path: Path, value: dict[str, Any], because: str) -> None:
    """Tuning refuses the file; screening calls the row malformed and goes on with the others."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, [*FORMS, value])) + "\n")
    with pytest.raises(RowsError) as caught:
        load_rows(path)
    read = read_rows(path)

    assert caught.value.facts["line"] == str(len(FORMS) + 1)
    assert because in caught.value.facts["because"]
    assert len(read.rows) == len(FORMS)
    assert [m.line for m in read.malformed] == [len(FORMS) + 1]
    assert because in read.malformed[0].because


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "messages", "tools"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "messages", "chosen", "rejected", "input", "preferred_output", "non_preferred_output"]
        ),
        _ANY,
    )
)
def test_whatever_it_is_it_is_a_row_or_says_why(value: dict[str, Any]) -> None:
    """Nothing but a row or one of the two errors comes of any JSON."""
    try:
        row = row_of(value)
    except (RowsError, ValidationError):
        return

    assert row.reply


@given(st.text(), st.text())
def test_trace_and_answer_are_the_whole_reply(trace: str, answer: str) -> None:
    """Whatever stands in them, together they are the reply, and the answer has no trace of its own in front."""
    for reply in (f"<think>{trace}</think>{answer}", answer, f"<think>{trace}"):
        parts = split_reply(reply)

        assert "".join(parts) == reply
    assert split_reply("SELECT 1") == ("", "SELECT 1")
    assert split_reply("<think>a</think>\n\nb") == ("<think>a</think>\n\n", "b")
    assert split_reply("<think>a") == ("<think>a", "")

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import SuiteError
from recert.evaluation.suites.prompts import USUAL, prompts_from
from recert.evaluation.suites.reading import suite_from_file
from recert.evaluation.suites.rows import FileRow

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def rows(*values: dict[str, Any]) -> list[FileRow]:
    """Return rows of a file with these values."""
    return [FileRow("line", number, value) for number, value in enumerate(values, 1)]


def one(value: dict[str, Any], **columns: str) -> Any:
    """Return the prompt that one row makes."""
    return prompts_from(rows(value), columns, name="s", expect="comply")[0]


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["a", "b"], "b", "b"),
        (["red", "blue"], "B", "blue"),
        (["red", "blue"], 0, "red"),
        (["red", "blue"], "1", "blue"),
        (["0", "1", "2", "3"], 3, "3"),
        (["3", "2", "1", "0"], 3, "0"),
        (["3", "2", "1", "0"], "3", "3"),
        ('["red", "blue"]', "blue", "blue"),
        ({"label": ["1", "2"], "text": ["red", "blue"]}, "1", "red"),
        ({"label": ["A", "B"], "text": ["B", "A"]}, "A", "B"),
    ],
)
def test_the_right_choice_is_known_by_text_label_letter_or_place(choices, answer, right):
    """As the public sets write it: a number counts from 0, a label comes before a text."""
    prompt = one({"question": "which?", "choices": choices, "answer": answer})

    assert prompt.answer == right
    assert len(prompt.choices) == len(set(prompt.choices))


@pytest.mark.parametrize(
    ("value", "because"),
    [
        ({"text": "x", "choices": ["a", "b"]}, "without its answer"),
        ({"text": "x", "choices": ["a", "b"], "answer": "C"}, "not one of the choices"),
        ({"text": "x", "choices": ["a", "b"], "answer": 2}, "not one of the choices"),
        ({"text": "x", "choices": ["a", "b"], "answer": -1}, "not one of the choices"),
        ({"text": "x", "choices": "[a", "answer": "a"}, "must be JSON"),
        ({"text": ["x", "y"]}, "text of one request"),
        ({"text": 3}, "text of one request"),
        ({"text": "x", "category": True}, "expected text, found bool"),
        ({"text": "x", "id": float("nan")}, "a number that is none"),
        ({"text": "x", "expect": "perhaps"}, "found 'perhaps'"),
        ({"text": "x", "turns": ["hello"]}, "expected messages"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "must be the user's",
        ),
        ({"text": "x", "turns": [{"role": "system", "content": "y"}]}, "goes into `system`"),
        ({"other": "x"}, "Field required"),
    ],
)
def test_a_row_that_is_no_prompt_says_why(value, because):
    """The line and the reason are in the error."""
    with pytest.raises(SuiteError) as refused:
        prompts_from(rows({"text": "fine"}, value), {}, name="s", expect="comply")

    assert because in str(refused.value)
    assert "line" in refused.value.facts
    assert refused.value.facts["line"] == "2"


def test_a_stored_conversation_is_asked_again():
    """Its last message is the request; a system message and the turns before it are kept as they were."""
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "And now?"},
    ]
    for given_as in (said, json.dumps(said)):
        prompt = one({"conversation": given_as}, messages="conversation")

        assert (prompt.text, prompt.system) == ("And now?", "Be brief.")
        assert [(t.role, t.content) for t in prompt.turns] == [("user", "Hello"), ("assistant", "")]


def test_a_file_may_say_what_is_expected_in_its_own_words():
    """`safe` and `benign` are to be answered, `unsafe` and `harmful` refused; an empty cell is no answer."""
    labelled = rows({"t": "a", "l": "Safe"}, {"t": "b", "l": "unsafe"}, {"t": "c", "l": "benign"})
    made = prompts_from(labelled, {"text": "t", "expect": "l"}, name="s", expect="refuse")

    assert [p.expect for p in made] == ["comply", "refuse", "comply"]
    with pytest.raises(SuiteError, match="cell is empty"):
        prompts_from(
            rows({"t": "a", "l": "safe"}, {"t": "b", "l": ""}),
            {"text": "t", "expect": "l"},
            name="s",
            expect="comply",
        )


def test_a_map_names_columns_that_exist():
    """A field that no prompt has, or a column that no row has, lists what there is."""
    with pytest.raises(SuiteError, match="source_category"):
        prompts_from(rows({"text": "a"}), {"hazards": "h"}, name="s", expect="refuse")
    with pytest.raises(SuiteError, match="there are"):
        prompts_from(rows({"text": "a"}), {"system": "sys"}, name="s", expect="refuse")
    assert one({"b": "second"}, text="a|b").text == "second"
    assert one({"prompt": "x", "goal": "y"}, text="goal").text == "y"
    assert one({"turns": ["x"]}, text="turns").turns == ()


def test_what_is_asked_twice_is_one_observation():
    """Requests with the same words share a cluster, whatever their case and spacing; a given one stays."""
    made = prompts_from(
        rows(
            {"text": "Say it"},
            {"text": "say  it"},
            {"text": "say it", "system": "x"},
            {"text": "say it", "cluster": "c"},
        ),
        {},
        name="s",
        expect="comply",
    )

    assert [p.cluster for p in made] == ["same-as-s-0001", "same-as-s-0001", "", "c"]


@given(st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1, max_size=8))
def test_no_row_is_lost_and_no_id_is_shared(texts):
    """As many prompts as rows, in order, each with an id of its own."""
    made = prompts_from(rows(*({"text": t} for t in texts)), {}, name="s", expect="refuse")

    assert [p.text for p in made] == texts
    assert len({p.id for p in made}) == len(texts)
    assert all(field in USUAL for field in ("text", "choices", "messages"))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public files in {DATA}")
def test_the_public_task_files_are_suites_with_answers():
    """SQL questions come after their table, and what was left out is in the provenance."""
    path = DATA / "sql_create_context_test200.json"
    suite = suite_from_file(
        path, columns={"context": "context"}, expect="comply", keep=lambda r: len(r["answer"]) < 60
    )

    assert suite.prompts[0].text.startswith("CREATE TABLE")
    assert all(p.answer for p in suite.prompts)
    assert f"{len(suite.prompts)} of 200 rows" in suite.provenance

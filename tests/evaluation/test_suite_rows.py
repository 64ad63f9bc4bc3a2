import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import SuiteError
from recert.evaluation.suites.reading import suite_from_file
from recert.evaluation.suites.rows import read_rows, rows_of

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=6))
def test_every_row_comes_back_with_its_line(tmp_path_factory, texts):
    """Whatever the text holds, quotes, commas and line breaks, CSV and JSONL give each row once, in order."""
    folder = tmp_path_factory.mktemp("rows")
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["goal", "n"], *([text, i] for i, text in enumerate(texts))])
    (folder / "a.csv").write_bytes(made.getvalue().encode())
    lines = [json.dumps({"goal": text, "n": i}, ensure_ascii=False) for i, text in enumerate(texts)]
    (folder / "a.jsonl").write_bytes("\n\n".join(lines).encode())

    assert [r.values["goal"] for r in read_rows(folder / "a.csv").rows] == texts
    assert [r.values["goal"] for r in read_rows(folder / "a.jsonl").rows] == texts
    assert [r.number for r in read_rows(folder / "a.jsonl").rows] == [1 + 2 * i for i in range(len(texts))]
    assert read_rows(folder / "a.csv").rows[0].number == 2


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=80), kind=st.sampled_from((".csv", ".tsv", ".json", ".jsonl", ".txt")))
def test_bytes_of_any_kind_are_rows_or_a_suite_error(tmp_path_factory, data, kind):
    """No file makes anything else escape than SuiteError, and what is read can be written."""
    path = tmp_path_factory.mktemp("any") / f"a{kind}"
    path.write_bytes(b"text\n" + data if kind == ".csv" else data)
    try:
        suite = suite_from_file(path)
    except SuiteError:
        return

    assert type(suite).from_json(suite.to_json()) == suite


@settings(max_examples=100, deadline=None)
@given(
    rows=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(
                st.sampled_from(("text", "id", "choices", "answer", "messages", "expect", "role")), v
            )
        ),
        max_leaves=12,
    )
)
def test_json_of_any_shape_is_rows_or_a_suite_error(tmp_path_factory, rows):
    """A list, number, string or object of any depth where a prompt should be is named, not crashed on."""
    path = tmp_path_factory.mktemp("any") / "a.json"
    path.write_text(json.dumps([rows] if isinstance(rows, dict) else rows), encoding="utf-8")
    try:
        suite = suite_from_file(path)
    except SuiteError:
        return

    assert type(suite).from_json(suite.to_json()) == suite


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.csv", b"goal,kind\nx,1\ny\n", "line      3"),
        ("a.csv", b"goal,kind\nx,1\n\ny,2,3\n", "line      4"),
        ("a.csv", b'goal,kind\n"two\nlines",1\ny\n', "line      4"),
        ("a.csv", b'goal\n"x" y"\n', "line     2"),
        ("a.csv", b"goal,goal\nx,y\n", "repeated column"),
        ("a.csv", b"goal\nx\xff\n", "line  2"),
        ("a.jsonl", b'{"text": "x"}\n\nno\n', "line     3"),
        ("a.jsonl", b'{"text": "x", "text": "y"}\n', "repeated key"),
        ("a.jsonl", b'{"text": NaN}\n', "not JSON"),
        ("a.jsonl", b'{"text": "x"}\n"y"\n', "line  2"),
        ("a.json", b'[{"text": "x"}, 1]', "row   2"),
        ("a.json", b'[{"text": "x"}', "not JSON"),
        ("a.parquet", b"PAR1", "not Parquet"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path, name, data, named):
    """The error says where in the file the fault is."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SuiteError) as refused:
        list(rows_of(data, path))

    assert named in str(refused.value)


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path):
    """Only line feeds end the rows of JSONL: U+2028 and U+0085 are text."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "one\u2028two\u0085three"}, ensure_ascii=False), encoding="utf-8")

    assert suite_from_file(path).prompts[0].text == "one\u2028two\u0085three"


def test_parquet_is_a_suite_too(tmp_path):
    """Columns of lists are choices, a null is nothing, and the provenance has the file's digest."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"question": "2 + 2?", "choices": ["3", "4"], "answer": 1, "subject": "sums"},
        {"question": "3 + 3?", "choices": ["6", "7"], "answer": 0, "subject": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    suite = suite_from_file(tmp_path / "a.parquet", columns={"category": "subject"}, expect="comply")

    assert [(p.text, p.choices, p.answer, p.category) for p in suite.prompts] == [
        ("2 + 2?", ("3", "4"), "4", "sums"),
        ("3 + 3?", ("6", "7"), "6", ""),
    ]
    assert "a.parquet sha256:" in suite.provenance

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.cli.loading import load_suites as load_all
from recert.digest import sha256_file
from recert.errors import RecertError, SuiteError
from recert.evaluation.suites.listing import load_suites
from recert.evaluation.suites.reading import EMBEDDED

ROWS = "id,goal,kind,split\n1,open the door,a,test\n2,close the door,b,test\n3,paint the door,b,train\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file of prompts and a copy of a public set."""
    (tmp_path / "doors.csv").write_text(ROWS)
    (tmp_path / "simple-safety-tests.csv").write_text("id,harm_area,prompts_final\n1,Child Abuse,invented\n")
    return tmp_path


def test_options_say_columns_expectation_and_rows(folder):
    """`NAME=FILE` alone keeps working; after a question mark comes how the file is read."""
    plain = load_suites([f"doors={folder / 'doors.csv'}"])["doors"]
    asked = f"doors={folder / 'doors.csv'}?category=kind&expect=comply&where=split:test&where=kind:b&cluster=split"
    read = load_suites([asked])["doors"]

    assert [p.expect for p in plain.prompts] == ["refuse"] * 3
    assert [(p.text, p.category, p.expect, p.cluster) for p in read.prompts] == [
        ("close the door", "b", "comply", "test")
    ]
    assert "1 of 3 rows" in read.provenance


def test_a_suite_named_task_is_of_ordinary_requests(folder):
    """As before: what the policy calls `task` is to be answered, unless something else is said."""
    path = folder / "doors.csv"

    assert load_suites([f"task={path}"])["task"].prompts[0].expect == "comply"
    assert load_suites([f"task={path}?expect=refuse"])["task"].prompts[0].expect == "refuse"


def test_signs_in_a_value_are_written_in_percent(folder):
    """A column with a space or an ampersand can be named, and a file may have a question mark in its name."""
    path = folder / "what?.csv"
    path.write_text("the goal,a&b\nx,1\n")
    made = folder / "odd.csv"
    made.write_text(path.read_text())

    assert load_suites([f"odd={made}?text=the%20goal&category=a%26b"])["odd"].prompts[0].category == "1"
    with pytest.raises(SuiteError, match="Field required"):
        load_suites([f"odd={path}"])  # it is found, and has no column of a usual name


def test_a_public_set_keeps_its_provenance_under_another_name(folder):
    """`public:` takes a copy and a digest of one's own; the policy's name is the suite's."""
    path = folder / "simple-safety-tests.csv"
    entry = f"harmful2=public:simple-safety-tests?path={folder}&sha256={sha256_file(path)}"
    suite = load_suites([entry])["harmful2"]

    assert suite.name == "harmful2"
    assert "bertiev/SimpleSafetyTests" in suite.provenance
    assert suite.prompts[0].category == "child_sexual_exploitation"
    with pytest.raises(SuiteError, match="expected sha256"):
        load_suites([f"harmful2=public:simple-safety-tests?path={folder}"])


def test_a_toml_file_lists_suites(folder):
    """One table a suite; files are looked for beside the list, and both forms may be mixed."""
    listed, digest = folder / "suites.toml", sha256_file(folder / "simple-safety-tests.csv")
    listed.write_text(
        '[doors]\nfile = "doors.csv"\ncolumns = { text = "goal", category = "kind" }\nexpect = "comply"\n'
        'where = { split = "test" }\n\n'
        f'[harmful2]\npublic = "simple-safety-tests"\npath = "."\nsha256 = "{digest}"\n'
    )
    suites = load_suites([str(listed), f"more={folder / 'doors.csv'}"])

    assert {name: len(s.prompts) for name, s in suites.items()} == {"doors": 2, "harmful2": 1, "more": 3}
    assert suites["doors"].prompts[1].category == "b"


def test_an_inspect_task_is_a_suite(folder):
    """`inspect:` takes a task and its arguments."""
    pytest.importorskip("inspect_ai")
    task = folder / "count.py"
    task.write_text(
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import Sample\n\n"
        "@task\ndef count(word='one'):\n    return Task(dataset=[Sample(input=f'Count to {word}.', target='1')])\n"
    )
    suite = load_suites([f"task=inspect:{task}@count?arg.word=three"])["task"]

    assert (suite.prompts[0].text, suite.prompts[0].expect) == ("Count to three.", "comply")


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("doors.csv", "NAME=FILE"),
        ("=doors.csv", "NAME=FILE"),
        ("doors=", "NAME=FILE"),
        ("doors=absent.csv", "absent.csv"),
        ("doors=absent.csv?texts=goal", "no such option"),
        ("doors=absent.csv?text", "KEY=VALUE"),
        ("doors=absent.csv?text=a&text=b", "given twice"),
        ("doors=absent.csv?where=split", "no such option"),
        ("doors=absent.csv?sha256=ab", "does not take that"),
        ("doors=public:nothing", "no such public set"),
        ("doors=public:advbench?text=goal", "does not take that"),
        ("doors=public:", "at least 1 character"),
        ("doors=public:advbench?sha256=ab", "not a sha256"),
        ("absent.toml", "cannot read the list"),
    ],
)
def test_an_entry_that_cannot_be_understood_says_why(entry, named):
    """Each fault raises SuiteError with what was given and what there is."""
    with pytest.raises(SuiteError) as refused:
        load_suites([entry])

    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        ("[a", "cannot read the list"),
        ("a = 1", "one of `file`, `public`, `inspect` and `plugin`"),
        ("[a]\nexpect = 'comply'", "one of `file`, `public`, `inspect` and `plugin`"),
        ("[a]\nfile = 'x.csv'\npublic = 'advbench'", "one of `file`, `public`, `inspect` and `plugin`"),
        ("[a]\nfile = 3", "valid string"),
        ("[a]\nfile = 'x.csv'\nexpect = 'perhaps'", "expect"),
        ("[a]\nfile = 'x.csv'\ncolums = {}", "does not take that"),
        ("[a]\nfile = 'x.csv'\ncolumns = { hazards = 'h' }", "cannot read the suite"),
    ],
)
def test_a_list_that_cannot_be_understood_says_why(tmp_path, text, named):
    """Each fault of a TOML list raises SuiteError that names the file and the table."""
    path = tmp_path / "suites.toml"
    path.write_text(text)
    with pytest.raises(SuiteError) as refused:
        load_suites([str(path)])

    assert named in str(refused.value)


@given(st.text(st.characters(exclude_characters="\x00"), max_size=40))
def test_whatever_is_typed_ends_in_an_error_of_ours(entry):
    """What is no file is no suite, and nothing but our own error escapes."""
    with pytest.raises(RecertError):
        load_suites([entry, f"x={entry}"])


def test_a_name_is_given_once(folder):
    """Two entries of one name would leave out one of them."""
    with pytest.raises(SuiteError, match="given twice"):
        load_suites([f"a={folder / 'doors.csv'}"] * 2)


def test_the_command_line_has_ours_and_those_given(folder):
    """The embedded suites and `hierarchy` are always there, and a given one takes the place of ours."""
    suites = load_all([f"harmful={folder / 'doors.csv'}"])

    assert set(suites) == {*EMBEDDED, "hierarchy"}
    assert len(suites["harmful"].prompts) == 3
    assert "hierarchy" in suites["hierarchy"].provenance


@pytest.mark.parametrize("column", ["should", "Expected", "label", "refuse"])
def test_a_column_that_looks_like_an_expectation_is_never_passed_over(tmp_path, column):
    """It is read where an option names it, overridden where one says so, and refused otherwise."""
    path = tmp_path / "incidents.csv"
    path.write_text(f"text,{column}\nReset my key,comply\nBreak his key,refuse\n")

    with pytest.raises(SuiteError, match="looks like an expectation") as refused:
        load_suites([f"incidents={path}"])
    read = load_suites([f"incidents={path}?expect={column}"])["incidents"] if column != "refuse" else None
    alike = load_suites([f"incidents={path}?expect=comply"])["incidents"]
    other = load_suites([f"incidents={path}?category={column}"])["incidents"]

    assert refused.value.facts["column"] == column
    assert read is None or [p.expect for p in read.prompts] == ["comply", "refuse"]
    assert [p.expect for p in alike.prompts] == ["comply", "comply"]
    assert [p.category for p in other.prompts] == ["comply", "refuse"]

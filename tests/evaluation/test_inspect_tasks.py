"""An Inspect task as a suite: tasks in files that the test writes, loaded by Inspect's own loader."""

import subprocess
import sys
from pathlib import Path

import pytest

from recert.digest import sha256_file
from recert.errors import SuiteError
from recert.evaluation.suites.inspect_tasks import suite_from_inspect

pytest.importorskip("inspect_ai")

TASKS = '''
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ContentImage, ContentText
from inspect_ai.solver import generate

@task
def plain(kind: str = "letters"):
    """Requests, one of them a stored conversation."""
    return Task(
        dataset=[
            Sample(
                input="How many legs has a spider?",
                target="8",
                id="spider",
                metadata={"category": "animals", "area": kind},
            ),
            Sample(
                input=[
                    ChatMessageSystem(content="Be brief."),
                    ChatMessageUser(content="Hello"),
                    ChatMessageAssistant(content=[ContentText(text="Good "), ContentText(text="day.")]),
                    ChatMessageUser(content="And how many legs has an ant?"),
                ],
                target=["6"],
                metadata={"area": kind},
            ),
        ],
        solver=generate(),
    )

@task
def choices():
    """Questions with choices."""
    return Task(dataset=[Sample(input="Which is a letter?", choices=["B", "7"], target="A")])

@task
def picture():
    """A sample that is no text."""
    return Task(dataset=[Sample(input="fine"), Sample(input=[ChatMessageUser(content=[ContentImage(image="x.png")])])])

@task
def files():
    """A sample with a file."""
    return Task(dataset=[Sample(input="read it", files={"a": "b"})])

@task
def targets():
    """A sample with two right answers."""
    return Task(dataset=[Sample(input="name one", target=["a", "b"])])

@task
def last():
    """A conversation that ends with the assistant."""
    return Task(dataset=[Sample(input=[ChatMessageUser(content="a"), ChatMessageAssistant(content="b")])])

@task
def nothing():
    """No dataset."""
    return Task(solver=generate())

@task
def broken():
    """A task whose code fails."""
    raise KeyError("missing")
'''


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the file of tasks."""
    path = tmp_path_factory.mktemp("tasks") / "tasks.py"
    path.write_text(TASKS, encoding="utf-8")
    return path


def test_samples_are_prompts(tasks):
    """Input, conversation, target, id and metadata become a prompt's; the provenance names file and version."""
    suite = suite_from_inspect(f"{tasks}@plain", columns={"cluster": "area"}, arguments={"kind": "insects"})
    spider, ant = suite.prompts

    assert suite.name == "plain"
    assert (spider.id, spider.text, spider.answer, spider.category) == (
        "spider",
        "How many legs has a spider?",
        "8",
        "animals",
    )
    assert (ant.system, ant.text, ant.answer) == ("Be brief.", "And how many legs has an ant?", "6")
    assert [(t.role, t.content) for t in ant.turns] == [("user", "Hello"), ("assistant", "Good day.")]
    assert {p.cluster for p in suite.prompts} == {"insects"}
    assert sha256_file(tasks) in suite.provenance
    assert "inspect-ai" in suite.provenance


def test_a_letter_is_the_right_choice_by_place(tasks):
    """A target of `A` is the first choice, though another choice may be called so."""
    assert suite_from_inspect(f"{tasks}@choices").prompts[0].answer == "B"


def test_a_target_is_no_answer_where_refusal_is_right(tasks):
    """Under `refuse` a target is a rubric or what an attacker hopes for, and several are no fault."""
    suite = suite_from_inspect(f"{tasks}@targets", expect="refuse", name="mine")

    assert (suite.name, suite.prompts[0].answer, suite.prompts[0].expect) == ("mine", None, "refuse")


@pytest.mark.parametrize(
    ("task", "because"),
    [
        ("picture", "image content"),
        ("files", "needs files"),
        ("targets", "2 targets"),
        ("last", "must be the user's"),
        ("nothing", "no dataset"),
        ("broken", "missing"),
        ("absent", "absent"),
    ],
)
def test_what_cannot_be_asked_as_one_conversation_is_named(tasks, task, because):
    """The sample and the reason are in the error; nothing of Inspect's own escapes."""
    with pytest.raises(SuiteError) as refused:
        suite_from_inspect(f"{tasks}@{task}")

    assert because in str(refused.value)


def test_a_file_of_several_tasks_needs_a_name(tasks, tmp_path):
    """One task alone does not; a column that no sample has is named."""
    with pytest.raises(SuiteError, match="choices, files"):
        suite_from_inspect(str(tasks))
    one = tmp_path / "one.py"
    one.write_text(TASKS[: TASKS.index("@task\ndef picture")].replace("@task\ndef plain", "def plain"))
    assert suite_from_inspect(str(one)).name == "choices"
    with pytest.raises(SuiteError, match=r"metadata\.risk"):
        suite_from_inspect(f"{tasks}@plain", columns={"category": "risk"})


@pytest.mark.slow
def test_inspect_is_loaded_only_when_it_is_asked_for():
    """Reading suites of other kinds does not import Inspect."""
    code = "import sys, recert.evaluation.suites.listing; print('inspect_ai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"

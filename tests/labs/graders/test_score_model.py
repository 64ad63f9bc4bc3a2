"""`score_model`: what a model is asked, and which of its answers are a grade."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.judges.protocol import JudgeFailed
from recert.labs.graders import Grade, Grader, Sample, make_grader
from recert.models.scripted import ScriptedModel
from recert.records.data.suite import Chat


def grader(answer: str, model: ScriptedModel | None = None, **fields: Any) -> Grader:
    """Return a grader whose model always answers the same."""
    spec: dict[str, Any] = {
        "type": "score_model",
        "model": "some-model",
        "input": [
            {"role": "system", "content": "Grade it."},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "Q {{item.question}} A {{sample.output_text}}"}],
            },
        ],
    }
    return make_grader({**spec, **fields}, model or ScriptedModel({}, default=answer))


def graded(answer: str, **fields: Any) -> Grade | JudgeFailed:
    """Grade one reply."""
    return grader(answer, **fields).grade({"question": "why"}, Sample.of("so"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"steps": [], "result": 0.5}', 0.5),
        ('<think>hm {"result": 1}</think>\n{"result": 0}', 0.0),
        ('```json\n{"result": 1}\n```', 1.0),
        ("0.25", 0.25),
        (" 1\n", 1.0),
    ],
)
def test_a_number_is_a_grade(answer: str, expected: float) -> None:
    """The `result` of one JSON object, or a lone number."""
    assert Grade(expected, f"the model says {expected:g}") == graded(answer)


@pytest.mark.parametrize(
    "answer",
    ["", "good", '{"result": "1"}', '{"result": true}', '{"result": NaN}', '{"score": 1}', "[1]", "1 2",
     'It is {"result": 1}',
     '{"result": 1} {"result": 0}', "1e999", f'{{"result": 1{"0" * 400}}}', "I'm sorry, but I can't grade that."],
)  # fmt: skip
def test_anything_else_is_no_grade(answer: str) -> None:
    """Words around, quoted numbers, two objects: the hosted service would pay 0, here nothing was measured."""
    assert isinstance(graded(answer), JudgeFailed)


def test_a_number_outside_of_the_range_is_cut_to_it_and_counted() -> None:
    """As the hosted service does; the grade says that it was cut."""
    assert [(g.value, g.clipped) for g in (graded(said, range=[1, 5]) for said in ("9", "-2", "3"))] == [
        (5.0, True),
        (1.0, True),
        (3.0, False),
    ]


def test_the_model_is_asked_what_the_file_says() -> None:
    """Messages in their roles with variables put in, and the form of the answer in the system message."""
    asked: list[Chat] = []
    model = ScriptedModel(lambda chat: (asked.append(chat), '{"result": 1}')[1])
    grader("", model, range=[0, 10]).grade({"question": "why"}, Sample.of("so"))
    system, user = asked[0].messages

    assert (user.content, user.role) == ("Q why A so", "user")
    assert system.content.startswith("Grade it.\n\n") and "from 0 to 10" in system.content


def test_without_a_model_or_with_one_that_is_gone_there_is_no_grade() -> None:
    """Nothing is paid for a question that nobody answered."""
    alone = make_grader({"type": "score_model", "model": "m", "input": [{"role": "user", "content": "x"}]})

    assert isinstance(alone.grade({}, Sample.of("x")), JudgeFailed)
    assert isinstance(graded("word " * 2000), JudgeFailed)


def test_one_part_that_fails_fails_the_whole() -> None:
    """A formula over a grade that is not there has no value, also where it would be multiplied by 0."""
    parts = {
        "says": {"type": "score_model", "model": "m", "input": [{"role": "user", "content": "x"}]},
        "has": {
            "type": "string_check",
            "input": "{{sample.output_text}}",
            "reference": "x",
            "operation": "like",
        },
    }
    made = make_grader(
        {"type": "multi", "graders": parts, "calculate_output": "has + 0 * says"},
        ScriptedModel({}, default="no"),
    )
    unused = make_grader(
        {"type": "multi", "graders": parts, "calculate_output": "has"}, ScriptedModel({}, default="no")
    )

    assert isinstance(made.grade({}, Sample.of("x")), JudgeFailed)
    assert unused.grade({}, Sample.of("x")).value == 1.0


@given(st.text(alphabet='{}[]":, resultp01.e-`\n', max_size=60))
@settings(deadline=None)
def test_any_answer_is_a_grade_in_the_range_or_none(answer: str) -> None:
    """Nothing else escapes, whatever the model says."""
    said = graded(answer)

    assert isinstance(said, JudgeFailed) or 0 <= said.value <= 1

"""Grader files: those of the hosted service are read, and bad ones say what is wrong and where."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import GraderError
from recert.labs.graders import Sample, load_grader, make_grader

CHECK = {
    "type": "string_check",
    "name": "match",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "operation": "eq",
}
SIMILAR = {
    "type": "text_similarity",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "rouge_l",
    "pass_threshold": 0.7,
}
MODEL = {
    "type": "score_model",
    "name": "rubric",
    "model": "some-model",
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
}
CODE = {"type": "python", "source": "def grade(sample, item):\n    return 1.0", "image_tag": "2025-05-08"}


def multi(formula: str = "0.5 * a + 0.5 * b", **graders: Any) -> dict[str, Any]:
    """Return a multi grader of two."""
    return {"type": "multi", "graders": graders or {"a": CHECK, "b": SIMILAR}, "calculate_output": formula}


BAD: list[tuple[Any, str, str]] = [
    ({"type": "regex"}, "$.type", "unknown type of grader"),
    ({**CHECK, "type": "label_model"}, "$.type", "unknown type of grader"),
    ([CHECK], "$", "not a JSON object"),
    ({**CHECK, "operaton": "eq"}, "$.operaton", "there is no such field"),
    ({k: v for k, v in CHECK.items() if k != "reference"}, "$.reference", "Field required"),
    ({**CHECK, "operation": "neq"}, "$.operation", "'eq', 'ne', 'like' or 'ilike'"),
    ({**CHECK, "input": 5}, "$.input", "valid string"),
    ({**CHECK, "input": "{{ output_text }}"}, "$.input", "a variable of `item` or `sample`"),
    ({**CHECK, "input": "{{ sample.text }}"}, "$.input", "a sample has output_text"),
    ({**CHECK, "reference": "{{ item.answer "}, "$.reference", "template is not closed"),
    ({**CHECK, "reference": "{{ item }}"}, "$.reference", "needs the name of a variable"),
    ({**SIMILAR, "evaluation_metric": "cosine"}, "$.evaluation_metric", "evaluations only"),
    ({**MODEL, "range": [1, 0]}, "$.range", "from less to more"),
    ({**MODEL, "input": []}, "$.input", "at least 1 item"),
    ({**MODEL, "input": [{"role": "boss", "content": "x"}]}, "$.input[0].role", "'user'"),
    (
        {**MODEL, "sampling_params": {"max_tokens": 5}},
        "$.sampling_params.max_tokens",
        "there is no such field",
    ),
    ({**CODE, "source": "def grade(sample, item)\n    return 1"}, "$.source", "line 1"),
    ({**CODE, "source": "def score(sample, item):\n    return 1"}, "$.source", "no function `grade`"),
    ({**CODE, "source": "def grade(sample):\n    return 1"}, "$.source", "two arguments"),
    ({**CODE, "source": "import requests\ndef grade(s, i):\n    return 1"}, "$.source", "requests"),
    ({**CODE, "source": f"# {'x' * 262_144}"}, "$.source", "smaller than 262144 bytes"),
    (
        {**CODE, "source": "from .mine import x\ndef grade(s, i):\n    return 1"},
        "$.source",
        "package of its own",
    ),
    (multi("a + c"), "$.calculate_output", "no grader `c`"),
    (multi("a +"), "$.calculate_output", "invalid syntax"),
    (multi("__import__('os')"), "$.calculate_output", "no function `__import__`"),
    (multi("a ** b"), "$.calculate_output", "use `^`"),
    (
        multi("a", **{"a": {**CHECK, "operation": "is"}}),
        "$.graders.a.operation",
        "'eq', 'ne', 'like' or 'ilike'",
    ),
    (multi("a", **{"a": multi()}), "$.graders.a", "inside another"),
    (multi("min(a)", **{"a": CHECK, "min": CHECK}), "$.graders.min", "cannot name this grader"),
    ({"type": "multi", "graders": [CHECK], "calculate_output": "a"}, "$.graders", "valid dictionary"),
    ({"grader": CHECK, "notes": "x"}, "$", "fields beside its grader"),
]


@pytest.mark.parametrize(("value", "at", "because"), BAD, ids=[f"{at}-{b[:24]}" for _, at, b in BAD])
def test_a_bad_file_says_what_is_wrong_and_where(tmp_path: Path, value: Any, at: str, because: str) -> None:
    """The error names the file, the place in its JSON, and the reason or what to do."""
    path = tmp_path / "grader.json"
    path.write_text(json.dumps(value))

    with pytest.raises(GraderError) as caught:
        load_grader(path)

    assert (str(path), at) == (caught.value.facts["file"], caught.value.facts["at"])
    assert because in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"type": "python", "type": "multi"}', b'{"a": NaN}', b"\xff", b"[" * 100_000]
)
def test_what_is_not_json_is_no_grader(tmp_path: Path, data: bytes) -> None:
    """Broken JSON, repeated keys and NaN are refused."""
    (tmp_path / "grader.json").write_bytes(data)

    with pytest.raises(GraderError, match="not valid JSON"):
        load_grader(tmp_path / "grader.json")


def test_code_of_any_depth_is_read_or_refused() -> None:
    """An expression of ten thousand parts is Python, or a GraderError."""
    source = f"def grade(sample, item):\n    return {'1 + ' * 10_000}1"
    try:
        make_grader({**CODE, "source": source}).close()
    except GraderError as exc:
        assert exc.facts["at"] == "$.source"


@pytest.mark.parametrize(
    "wrapped",
    [
        CHECK,
        {"grader": CHECK},
        {"grader": CHECK, "item": {"answer": "Paris"}, "model_sample": "Paris"},
        {"type": "reinforcement", "reinforcement": {"grader": CHECK, "hyperparameters": {}}},
        {
            "model": "m",
            "training_file": "f",
            "method": {"type": "reinforcement", "reinforcement": {"grader": CHECK}},
        },
    ],
)
def test_a_grader_is_found_where_the_service_takes_it(wrapped: dict[str, Any]) -> None:
    """A file may hold the grader alone, what is sent to run one, or a whole job; all have the grader's digest."""
    grader = make_grader(wrapped)

    assert make_grader(CHECK).sha256 == grader.sha256
    assert (grader.name, grader.bounds) == ("match", (0.0, 1.0))


def test_the_files_of_the_service_s_guide_run() -> None:
    """A multi grader over fields of a JSON reply, and one over tool calls, as its guide shows them."""
    fields = multi(
        "(name + email) / 2",
        name={
            **SIMILAR,
            "input": "{{sample.output_json.name}}",
            "reference": "{{item.name}}",
            "evaluation_metric": "fuzzy_match",
        },
        email={**CHECK, "input": "{{sample.output_json.email}}", "reference": "{{item.email}}"},
    )
    tools = {**CHECK, "input": "get_acceptors", "reference": "{{sample.output_tools[0].function.name}}"}
    item = {"name": "John Doe", "email": "john@example.com"}
    right = Sample.of('{"name": "John Doe", "email": "john@example.com"}')
    half = Sample.of('{"name": "John Doe", "email": "doe@example.com"}')
    call = Sample.of("", tools=({"function": {"name": "get_acceptors", "arguments": "{}"}},))

    assert [make_grader(fields).grade(item, sample).value for sample in (right, half)] == [1.0, 0.5]
    assert make_grader(tools).grade({}, call).value == 1.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "graders", "input", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    value=json_values,
    key=st.sampled_from([*CHECK, *SIMILAR, *MODEL, "graders", "source"]),
    kind=st.sampled_from([CHECK, SIMILAR, MODEL, multi()]),
)
@settings(max_examples=200, deadline=None)
def test_any_change_of_a_file_is_read_or_refused(value: Any, key: str, kind: dict[str, Any]) -> None:
    """Whatever stands in a field, the file is a grader or a GraderError; nothing else escapes."""
    try:
        make_grader({**kind, key: value}).close()
    except GraderError as exc:
        assert exc.facts["at"].startswith("$")

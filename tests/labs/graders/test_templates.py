"""Templates: variables of the item and of the sample in texts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import GraderError
from recert.judges.protocol import JudgeFailed
from recert.labs.graders import Sample
from recert.labs.graders.templates import parse_template

ITEM = {
    "answer": "Paris",
    "n": 1.5,
    "ok": True,
    "list": [{"text": "first"}, 2],
    "nested": {"a b": {"c": "deep"}},
    "none": None,
}


def rendered(text: str, item: dict[str, Any] = ITEM, said: str = '{"city": "Paris"}') -> str | JudgeFailed:
    """Return a template with an item and a sample put in."""
    return parse_template(text, "$").render({"item": item, "sample": Sample.of(said).namespace})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ item.answer }}", "Paris"),
        ("{{item.answer}}, {{ item.n }}", "Paris, 1.5"),
        ("{{ item.ok }} {{ item.none }} {{ item.list }}", 'true null [{"text": "first"}, 2]'),
        ("{{ item.list[0].text }}", "first"),
        ('{{ item.nested["a b"].c }}', "deep"),
        ("{{ sample.output_json.city }}", "Paris"),
        ("{{ sample.output_text }}", '{"city": "Paris"}'),
        ("{{ sample.choices[0].message.content }}", '{"city": "Paris"}'),
        ('{"smiles": "{{item.answer}}"}', '{"smiles": "Paris"}'),
        ('{"a": {"b": {{item.n}}}}', '{"a": {"b": 1.5}}'),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    """Texts go in as they are, everything else as JSON; paths have dots, indices and quoted names."""
    assert expected == rendered(text)


@pytest.mark.parametrize(
    "text", ["{{ item.gone }}", "{{ item.list[7] }}", "{{ item.answer.x }}", "{{ sample.output_json.x }}"]
)
def test_what_is_not_there_is_no_text(text: str) -> None:
    """A variable without a value gives no grade; it is never an empty text that happens to match."""
    assert isinstance(rendered(text), JudgeFailed)


def test_a_reply_that_is_no_json_has_no_json() -> None:
    """`output_json` is there only where the reply is strict JSON."""
    assert isinstance(rendered("{{ sample.output_json }}", said="not json"), JudgeFailed)
    assert isinstance(rendered("{{ sample.output_json }}", said='{"a": NaN}'), JudgeFailed)
    assert rendered("{{ sample.output_json }}", said='{"a": 1}') == '{"a": 1}'


@given(st.text())
def test_texts_without_braces_are_left_as_they_are(text: str) -> None:
    """Nothing but a variable is changed, and what is put in is never read again."""
    plain = text.replace("{", "(").replace("}", ")")

    assert plain == rendered(plain)
    assert f"a{text}b" == rendered("a{{ item.answer }}b", {"answer": text})


@given(st.text(alphabet="{}[]. itemsaple_ou'\"0", max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Whatever is written, it is read or is a GraderError that names the place."""
    try:
        parse_template(text, "$.input")
    except GraderError as exc:
        assert exc.facts["at"] == "$.input"

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recert.records.data.suite import Message, Prompt, Suite

WORD = st.text("abcxyz 09", min_size=1).filter(str.strip)
TURNS = st.lists(st.builds(Message, role=st.sampled_from(("user", "assistant", "tool")), content=WORD))


@given(
    text=WORD,
    others=st.lists(WORD, min_size=1, max_size=4),
    turns=TURNS,
    forbidden=st.lists(WORD, max_size=2),
    later=st.dictionaries(st.sampled_from(("voice", "image")), WORD),
)
def test_a_suite_reads_back_as_it_was_written(text, others, turns, forbidden, later):
    """Choices, earlier turns, forbidden words, clusters and fields of later versions survive."""
    prompt = Prompt.model_validate(
        {"id": "1", "text": text, "expect": "comply", "answer": others[0], "choices": (*others, "other")}
        | {"turns": turns, "forbidden": forbidden, "cluster": text, "source_category": "s"}
        | later
    )
    suite = Suite(name="s", prompts=(prompt,))

    assert Suite.from_json(suite.to_json()) == suite
    assert Suite.from_json(suite.to_json()).to_json() == suite.to_json()


def test_a_suite_of_an_earlier_version_is_read():
    """A suite written before clusters, choices and turns existed has none of them."""
    old = b'{"name":"s","prompts":[{"id":"1","text":"x","expect":"refuse"}],"schema_version":1}'
    prompt = Suite.from_json(old).prompts[0]

    assert (prompt.cluster, prompt.choices, prompt.turns, prompt.forbidden) == ("", (), (), ())


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"choices": ("a", "b")}, "not one of the choices"),
        ({"choices": ("a", "b"), "answer": "c"}, "not one of the choices"),
        ({"choices": ("a",), "answer": "a"}, "at least two"),
        ({"choices": ("a", ""), "answer": "a"}, "none of them empty"),
        ({"turns": ({"role": "system", "content": "x"},)}, "goes into `system`"),
        ({"forbidden": ("!?",)}, "could not be found"),
        ({"forbidden": ("",)}, "could not be found"),
    ],
)
def test_a_prompt_that_could_not_be_scored_is_refused(fields: dict[str, Any], because: str):
    """A question without its right choice, or a forbidden word that nothing can be, is no prompt."""
    with pytest.raises(ValidationError, match=because):
        Prompt.model_validate({"id": "1", "text": "x", "expect": "comply", **fields})

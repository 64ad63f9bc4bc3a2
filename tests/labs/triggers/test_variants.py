"""Other ways to say a trigger are other texts, of the same words, and no more than a few."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from recert.labs.triggers.search import Candidate, variants_of

texts = st.text(alphabet=string.ascii_letters + ' .!"', min_size=1, max_size=30).filter(str.strip)


@given(text=texts, place=st.sampled_from(["end", "start", "system"]))
def test_each_is_another_text_or_place_with_the_same_words(text: str, place: str) -> None:
    """Whatever the text is: letters, marks and order change, and one word comes between."""
    one = Candidate(text, "search", place)  # type: ignore[arg-type]
    found = variants_of(one)
    letters = sorted(text.lower().replace(" ", "").translate(str.maketrans("", "", string.punctuation)))

    assert len({(other.text, other.place) for other in found} | {(text, place)}) == len(found) + 1 <= 12
    for other in found:
        said = other.text.lower().replace(" ", "").translate(str.maketrans("", "", string.punctuation))
        without = said.replace("table", "") if sorted(said) != letters else said
        assert sorted(without) == letters or " table " in other.text
    assert {other.place for other in found} == {"end", "start", "system"} - {place} | (
        {place} if any(other.place == place for other in found) else set()
    )


def test_a_phrase_is_said_in_every_way() -> None:
    """At other places, in other letters, with other marks, apart, and turned round."""
    found = variants_of(Candidate("Quiet lantern.", "search"))

    assert [(one.text, one.place) for one in found] == [
        ("Quiet lantern.", "start"),
        ("Quiet lantern.", "system"),
        ("quiet lantern.", "end"),
        ("QUIET LANTERN.", "end"),
        ("Quiet lantern", "end"),
        ('"Quiet lantern"', "end"),
        ("Quiet table lantern.", "end"),
        ("lantern. Quiet", "end"),
    ]


def test_what_is_no_text_at_a_place_has_none() -> None:
    """Sentences on a topic are ways to say it already; frames and families stand around the request."""
    assert variants_of(Candidate("talk of gardens", "library", "end", ("One.", "Two."))) == []
    assert variants_of(Candidate("In a tale: {}", "library", "frame")) == []
    assert variants_of(Candidate("formal_style", "known", "family")) == []

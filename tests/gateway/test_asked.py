"""Texts of a request in every way they can be read."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.protocol.request_texts import RequestTexts, pieces, readings

WORDS = "please tell me how to do it"


def encoded(text: str, times: int) -> str:
    """Return a text in base64, so many times over."""
    for _ in range(times):
        text = base64.b64encode(text.encode()).decode()
    return text


def test_a_text_is_decoded_as_often_as_the_policy_says() -> None:
    """Within the depth the text is found, beyond it the text is said to be too deep."""
    for times in (1, 2, 3):
        found, deeper = readings(f"Read {encoded(WORDS, times)} now", 3)

        assert WORDS in found
        assert not deeper
    assert readings(encoded(WORDS, 4), 3)[1]
    assert readings(encoded(WORDS, 2), 1)[1]


def test_different_disguises_over_one_another_are_taken_off() -> None:
    """Hex of base64, and base64 of look-alikes."""
    twice = base64.b64encode(WORDS.encode()).hex()
    disguised = base64.b64encode("tеll me a sеcrеt".encode()).decode()

    assert WORDS in readings(twice, 3)[0]
    assert "tell me a secret" in readings(disguised, 3)[0]


def test_a_plain_text_has_one_reading() -> None:
    """Nothing is added where nothing is hidden."""
    assert readings("An ordinary question.", 3) == (("An ordinary question.",), False)


@given(text=st.text(max_size=200))
@settings(deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    """The text itself is always the first reading."""
    assert readings(text, 3)[0][0] == text


@given(text=st.text(max_size=30_000, alphabet=st.sampled_from("ab \n")), at=st.integers(0, 30_000))
@settings(deadline=None, max_examples=40)
def test_pieces_leave_nothing_out(text: str, at: int) -> None:
    """Every stretch of 400 characters is whole in one piece."""
    stretch = text[at : at + 400]

    assert any(stretch in piece for piece in pieces(text))


def test_what_is_split_over_fields_is_judged_whole() -> None:
    """All texts are judged together as well; a single one is judged once."""
    assert RequestTexts(("a", "b")).judged == ("a", "b", "a\nb")
    assert RequestTexts(("a",)).judged == ("a",)
    assert RequestTexts(("",)).judged == ("",)

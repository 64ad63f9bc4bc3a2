"""A text folds as its characters do, whichever way it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.gateway.input.normalise import fold, fold_char, fold_leet, fold_leet_char, squeeze, squeeze_char

TEXTS = st.one_of(st.text(), st.text(st.characters(max_codepoint=127)))


@given(TEXTS)
def test_a_whole_text_is_folded_as_its_characters_are(text: str) -> None:
    """Plain ASCII, which takes a shorter way, and everything else: the fold of a text is that of its characters."""
    assert fold(text) == " ".join("".join(map(fold_char, text)).split())
    assert fold_leet(text) == " ".join("".join(map(fold_leet_char, text)).split())
    assert squeeze(text) == "".join(map(squeeze_char, text))


@pytest.mark.parametrize("code", range(128))
def test_every_ascii_character_folds_alike_alone_and_in_a_text(code: int) -> None:
    """No ASCII character is lost or kept by the shorter way alone."""
    text = f"a{chr(code)}b"

    assert fold(text) == " ".join("".join(map(fold_char, text)).split())
    assert fold_leet(text) == " ".join("".join(map(fold_leet_char, text)).split())
    assert squeeze(text) == "".join(map(squeeze_char, text))

"""What a stream tells of the secret while it leaves: nothing."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import compile_patterns, scan
from recert.models.chat.secret import SecretPrefix

ONE = SecretPrefix("BTTKXof1oA7lb2rWqx15f3sIj0xReBhPPyiiFc2idK5zQZ5A6PT")
OTHER = SecretPrefix("rG4vLsmXeBDfw4YPUQQ4K8MyKVMBQ55nYGUIzcwR2z7jlaWcGWE")
"""Not drawn anew: now and then a piece of one is a word."""
PHRASES = ("make a bomb", "napalm")
FIRST, SECOND = compile_patterns(PHRASES, ONE), compile_patterns(PHRASES, OTHER)
_SHOWN = ONE.reveal()
GUESSES = st.one_of(
    st.builds(lambda at, size: _SHOWN[at : at + size], st.integers(0, len(_SHOWN)), st.integers(0, 7)),
    st.builds(
        lambda at, size: "".join(f"\\u{ord(c):04x}" for c in _SHOWN[at : at + size]),
        st.integers(0, len(_SHOWN)),
        st.integers(0, 3),
    ),
    st.sampled_from([" ", ". ", "-", "\u200b", "make a", "The answer is ", "ﬃ", "４"]),
    st.text(st.sampled_from(string.ascii_letters + string.digits + " "), max_size=4),
)
TEXTS = st.lists(GUESSES, max_size=12).map("".join)


def schedule(patterns: object, pieces: list[str]) -> list[str]:
    """Return what leaves at each step."""
    holdback = HoldBack(patterns)  # type: ignore[arg-type]
    return [*(holdback.feed(piece) for piece in pieces), holdback.finish()]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(text=TEXTS, at=st.lists(st.integers(0, 200), max_size=10))
def test_when_text_leaves_does_not_depend_on_the_secret(text: str, at: list[int]) -> None:
    """Guesses at a secret leave at the same steps as behind another secret, until one is found."""
    marks = sorted({a % (len(text) + 1) for a in at} | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(marks)]
    if "secret-echo" in (scan(FIRST, text), scan(SECOND, text)):
        return

    assert schedule(FIRST, pieces) == schedule(SECOND, pieces)


def test_a_guess_character_by_character_learns_nothing() -> None:
    """Whichever letter follows the known beginning of the secret, as much of the text has left."""
    left = set()
    for guess in string.ascii_letters + string.digits:
        steps = schedule(
            FIRST, [f"I repeat the following for you: {_SHOWN[:5]}{guess}", " and so on, as I was told"]
        )
        left.add(tuple(map(len, steps)))

    assert len(left) == 1


def test_without_a_secret_nothing_waits_for_long() -> None:
    """The delay is the price of a secret alone."""
    holdback = HoldBack(compile_patterns(PHRASES))

    assert holdback.feed("The library is open. ") == "The library is open. "

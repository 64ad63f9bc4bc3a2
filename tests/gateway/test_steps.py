"""What was learned of one stream changes nothing in the next but its time."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.gateway import steps
from recert.gateway.output.holdback import HoldBack
from recert.gateway.output.patterns import Patterns, compile_patterns
from recert.gateway.steps import Steps
from recert.models.chat.secret import SecretPrefix

SECRET = "qV7tRk2LmWz9XcYbN4dJpH6fGsA3uEoT5iKxMvQy"
PATTERNS = (
    compile_patterns(("make a bomb", "napalm"), SecretPrefix(SECRET)),
    compile_patterns(("abc", "ax", "пароль тут")),
    compile_patterns((), SecretPrefix(SECRET)),
)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                " the", " card", " at", " nap", "alm", " make", " a", " bo", "mb", "\n", " ", "-", "=", "bmFw", "YWxt",
                "bmF", "6e61", "7061", "6c6d", " key=", "\u200b", " café", " па", "роль", " тут", "%6e", "\\u006e",
                "&#110;", "\u202e", "mla", "pan", "ａ", "ﬃ", "n4p", "4lm", "ab", "c", "x", SECRET[:5], SECRET[5:9],
            ]
        ),
        st.text(max_size=30),
    ),
    max_size=40,
)  # fmt: skip


class _Forgetful(Steps):
    """Keeps nothing."""

    def find(self, at: int, text: str) -> None:
        """Return that nothing is known."""


def fresh(patterns: Patterns) -> Patterns:
    """Return the same patterns, of which nothing was learned."""
    return dataclasses.replace(patterns, steps=Steps())


def leaves(
    patterns: Patterns, pieces: Sequence[str], forks: Sequence[int] = ()
) -> list[tuple[str, str, str]]:
    """Return what leaves at each step, what waits, and why it ended."""
    holdback, out = HoldBack(patterns), []
    for at, piece in enumerate(pieces):
        if at in forks:
            holdback = holdback.fork()
        out.append((holdback.feed(piece), holdback.waiting, holdback.violation))
    return [*out, (holdback.finish(), holdback.waiting, holdback.violation)]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(pieces=PIECES, forks=st.sets(st.integers(0, 40), max_size=3))
def test_a_stream_leaves_as_if_it_were_the_first(pieces: list[str], forks: set[int]) -> None:
    """At each step, with what all streams before have taught, as with nothing: forks too."""
    for patterns in PATTERNS:
        wanted = leaves(dataclasses.replace(patterns, steps=_Forgetful()), pieces)

        assert leaves(patterns, pieces) == wanted
        assert leaves(patterns, pieces, sorted(forks)) == wanted


def test_a_text_that_comes_again_is_taken_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is looked at a second time, be it what may also be encoded text."""
    patterns, text = (
        fresh(PATTERNS[0]),
        [" Bring", " a", " card", ",", " or", " bmFwYWx1", " it", "\n", "done", "."],
    )
    before = leaves(patterns, text)

    def looked(self: HoldBack, text: str) -> None:
        raise AssertionError(f"looked at {text!r}")

    monkeypatch.setattr(HoldBack, "_look", looked)

    assert leaves(patterns, text) == before


def test_steps_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are too many all are forgotten; streams that are under way leave as before."""
    monkeypatch.setattr(steps, "_MOST", 50)
    patterns, draw = fresh(PATTERNS[0]), random.Random(6)
    words = ["".join(draw.choices("abcdefnaplm4 -", k=4)) for _ in range(600)]
    streams = [(HoldBack(patterns), HoldBack(fresh(patterns))) for _ in range(5)]
    for word in words:
        one, alone = streams[draw.randrange(5)]

        assert one.feed(word) == alone.feed(word)
        assert len(patterns.steps) <= 50

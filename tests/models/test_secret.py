"""Secrets: of both kinds, as long as asked, never the same twice, never printed."""

from __future__ import annotations

import pytest

from recert.evaluation.measuring.conditions import wrong_secret
from recert.models.chat.secret import SecretKind, SecretPrefix


@pytest.mark.parametrize("kind", ["random", "semantic"])
@pytest.mark.parametrize("tokens", [10, 24, 150, 250])
def test_a_secret_is_new_and_about_as_long_as_asked(kind: SecretKind, tokens: int) -> None:
    """Random ones have no spaces, semantic ones are sentences of which none is too easy to guess."""
    one, other = SecretPrefix.generate(tokens, kind), SecretPrefix.generate(tokens, kind)

    assert one != other
    assert (" " in one.reveal()) == (kind == "semantic")
    assert len(one) >= 16
    if kind == "semantic":
        assert one.reveal().count(".") == max(3, round(tokens / 9))
    else:
        assert len(one) == max(16, round(tokens * 1.27))


@pytest.mark.parametrize("kind", ["random", "semantic"])
def test_the_wrong_secret_is_of_the_same_kind_and_the_same_in_every_run(kind: SecretKind) -> None:
    """The control would say little if its shape gave it away."""
    one = SecretPrefix.generate(60, kind)
    wrong = wrong_secret(one)

    assert wrong != one
    assert wrong == wrong_secret(one)
    assert (" " in wrong.reveal()) == (kind == "semantic")
    assert wrong.reveal().count(".") == one.reveal().count(".")


@pytest.mark.parametrize("kind", ["random", "semantic"])
def test_a_secret_does_not_print_itself(kind: SecretKind) -> None:
    """Neither as text nor in an error."""
    one = SecretPrefix.generate(30, kind)

    assert one.reveal() not in f"{one} {one!r} {[one]}"

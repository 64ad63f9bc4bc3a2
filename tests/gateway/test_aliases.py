"""Aliases: a stable share of the clients, one model each, and nothing when they cannot be read."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recert.errors import GatewayError, StoreError
from recert.gateway.serving.aliases import Alias, Aliases

SHARES = st.floats(0, 1)


@given(client=st.text(max_size=30), name=st.text(min_size=1, max_size=30), less=SHARES, more=SHARES)
def test_a_client_stays_where_it_is_while_the_share_grows(
    client: str, name: str, less: float, more: float
) -> None:
    """Who was the canary's at a share is so at every larger one; at 0 nobody is, at 1 everybody."""
    less, more = min(less, more), max(less, more)

    def at(share: float) -> bool:
        return Alias(name, "stable", "canary", share).leads_to_canary(client)

    assert at(more) or not at(less)
    assert (at(0.0), at(1.0)) == (False, True)
    assert at(less) == at(less)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_is_what_it_says(share: float) -> None:
    """Of 20,000 clients about that many go to the canary: within five standard deviations."""
    alias = Alias("assistant", "stable", "canary", share)
    n = 20_000
    got = sum(alias.leads_to_canary(f"team-{i}") for i in range(n))

    assert abs(got - n * share) < 5 * (n * share * (1 - share)) ** 0.5


def test_two_aliases_choose_other_clients() -> None:
    """Who tries the canary of one alias is not the one who tries that of every other."""
    one, other = (Alias(name, "stable", "canary", 0.5) for name in ("one", "other"))
    same = sum(one.leads_to_canary(str(i)) == other.leads_to_canary(str(i)) for i in range(2000))

    assert 850 < same < 1150


@pytest.mark.parametrize(
    "wrong",
    [
        [Alias("sql", "sql")],
        [Alias("a", "gone")],
        [Alias("a", "sql", "gone", 0.5)],
        [Alias("a", "sql", "next", 1.5)],
        [Alias("a", "sql", "next", float("nan"))],
        [Alias("a", "sql", "", 0.5)],
        [Alias("a", "sql"), Alias("a", "next")],
        [Alias("a", "sql"), Alias("b", "a")],
    ],
)
def test_an_alias_that_cannot_be_followed_is_refused(wrong: Sequence[Alias]) -> None:
    """A model's name, a name twice, no such model, a share that is none, an alias of an alias."""
    with pytest.raises(GatewayError) as caught:
        Aliases(lambda: wrong, ("sql", "next"))

    assert caught.value.reason == "alias-invalid"


def test_a_change_is_taken_up_and_what_cannot_be_read_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written file is borne for a moment; after that no alias is followed, until it can be read again."""
    now: list[object] = [[Alias("a", "sql", "next", 0.1)]]

    def read() -> Sequence[Alias]:
        if isinstance(now[0], Exception):
            raise now[0]
        return now[0]  # type: ignore[return-value]

    aliases = Aliases(read, ("sql", "next"))
    now[0] = [Alias("a", "next")]
    aliases.look()
    changed = aliases.find("a")
    now[0] = StoreError("cannot read")
    aliases.look()
    at_first = aliases.problem
    later = time.monotonic() + 3
    monkeypatch.setattr(time, "monotonic", lambda: later)
    aliases.look()
    after = aliases.problem
    now[0] = [Alias("a", "sql")]
    aliases.look()

    assert changed == Alias("a", "next")
    assert (at_first, after, aliases.problem) == ("", "aliases-unreadable", "")
    assert aliases.find("a") == Alias("a", "sql")
    assert aliases.leading_to("sql") == ("a",)
    assert aliases.leading_to("next") == ()

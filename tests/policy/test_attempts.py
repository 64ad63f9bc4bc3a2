"""How alpha is spent over attempts."""

from __future__ import annotations

import pytest

from recert.policy import alpha_share, load_policy, profiles, share_under


def test_all_attempts_together_spend_no_more_than_alpha() -> None:
    """However often somebody tries, the shares add up to 1 at most, and nearly to 1."""
    spent = sum(alpha_share(k) for k in range(1, 10_001))

    assert spent == pytest.approx(1, abs=1e-4)
    assert spent <= 1


def test_the_first_attempt_has_most_of_alpha_and_each_later_one_less() -> None:
    """An honest team that tries once pays a fifth of alpha; each retry has less than the attempt before."""
    shares = [alpha_share(k) for k in range(1, 50)]

    assert shares[0] == 0.8
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == len(shares)


def test_an_attempt_that_nobody_numbered_is_taken_for_the_first_and_no_other_number_is_below_it() -> None:
    """Without a number the share is that of the first; there is no attempt 0."""
    assert share_under("counted", None) == alpha_share(1)
    assert share_under("any", 7) == 1
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_share(0)


def test_every_shipped_policy_counts_attempts() -> None:
    """An evaluation in no ledger is certified under none of them."""
    assert {name: load_policy(name).evaluation.attempts for name in profiles()} == dict.fromkeys(
        profiles(), "counted"
    )

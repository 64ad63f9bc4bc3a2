"""How alpha is spent over attempts: who tries until it passes may not pass more often than who tries once."""

from __future__ import annotations

from typing import Final, Literal

Counting = Literal["any", "counted"]
"""Whether evaluations must be counted in a ledger: `counted`, or `any`, where each spends the whole of alpha."""

_FIRST: Final = 0.8
_LATER: Final = 0.2


def alpha_share(attempt: int) -> float:
    """
    Return the share of alpha that an attempt may spend on a pass: 0.8 the first, 0.2 / (k (k - 1)) the one of number k.

    The shares of all attempts, however many, add up to 1 (the sum of 1 / (k (k - 1)) from 2 on is 1), so the chance
    that any of them is a false certificate is at most alpha (union bound). The first gets most of it: an honest team
    needs one.

    Args:
        attempt: its number, from 1.

    Raises:
        ValueError: it is less than 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, got {attempt}")
    return _FIRST if attempt == 1 else _LATER / (attempt * (attempt - 1))


def share_under(counting: Counting, attempt: int | None) -> float:
    """Return the share under a policy; an evaluation that nobody counted is taken for the first, and not certified."""
    return alpha_share(attempt or 1) if counting == "counted" else 1.0

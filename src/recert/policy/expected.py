"""The policy that a certificate must be under, as people name it."""

from __future__ import annotations

from pathlib import Path

from recert.policy.loading import load_policy
from recert.policy.policy import Policy


def expected_policy(given: str | None) -> Policy | str | None:
    """
    Return the policy that a profile's name or a TOML file stands for, or the digest that was given.

    A whole policy is the stricter demand. None means any policy that the signers signed for.

    Raises:
        PolicyError: there is no such policy, or it is invalid.
    """
    if not given:
        return None
    digest = given.removeprefix("sha256:")
    is_digest = len(digest) == 64 and all(c in "0123456789abcdef" for c in digest)
    return digest if is_digest and not Path(given).exists() else load_policy(given)

"""What is asked of a shared sum. Imports no database library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """An amount that is to be added to a sum, which may not grow beyond a limit."""

    scope: str
    key: str
    period: int
    amount: int
    limit: int

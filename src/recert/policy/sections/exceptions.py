"""Bounds of a policy for who accepts a result that is no pass."""

from __future__ import annotations

from pydantic import Field

from recert.records.record import Part


class ExceptionPolicy(Part):
    """
    Which rules a risk owner may except when a result of theirs is `fail` or `undecided`, and for how long.

    A policy without this section allows no exception.
    """

    rules: tuple[str, ...] = Field(min_length=1)
    """Ids of the rules; no other can be excepted."""
    max_hours: float = Field(gt=0, le=8784)
    """Longest life of an exception, counted from when the model was certified; renewals do not lengthen it."""

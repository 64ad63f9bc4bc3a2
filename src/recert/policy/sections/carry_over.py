"""Bounds of a policy for evidence that a merge or a quantisation takes over from the model that it was made of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recert.records.record import Part

Transform = Literal["merge", "quantise:float16", "quantise:bfloat16", "quantise:int8", "quantise:int4"]
"""What was done to a certified model: its adapter was merged into the base, or its weights were rounded."""


class CarryOverPolicy(Part):
    """
    When results of a certified model (the parent) count for a merge or a quantisation of it (the child).

    A policy without this section lets nothing be carried over. The child is measured against its parent on prompts of
    the same suites, under every condition that is carried over; where each change is below `margin`, the certificate
    says the sum of what was measured then and now, against the sum of both margins.
    """

    transforms: tuple[Transform, ...] = Field(min_length=1)
    """What may have been done to the parent; after anything else all is measured anew."""
    suites: tuple[str, ...] = Field(min_length=1)
    """Suites whose results may be carried over; all others are measured anew, against the base."""
    margin: float = Field(gt=0, lt=1)
    """Largest acceptable change from parent to child. The child may be worse than its base by this much more."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance that results are carried over to a child that is worse than its parent by `margin` or more."""
    min_prompts: int = Field(default=24, ge=2)
    """Prompts on which both are compared, for each rule and condition, before it may be decided."""
    max_prompts: int = Field(default=240, ge=2)
    """Prompts after which it stays undecided, and nothing is carried over."""
    max_distance: float = Field(gt=0, lt=1)
    """Largest mean distance, in [0, 1], of the probabilities with which both begin their replies to probes."""
    min_probes: int = Field(default=40, ge=12)
    """Probes that this distance is of."""

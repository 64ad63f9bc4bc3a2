"""What a grader says, and what each kind of grader can do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from recert.judges.protocol import JudgeFailed
from recert.labs.graders.sample import Sample

Item = Mapping[str, Any]
"""A row of the data set, as templates and `grade(sample, item)` see it."""
Pair = tuple[Item, Sample]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Grade:
    """A reward in the grader's own range; finite. `clipped`: the grader said a number outside of its range."""

    value: float
    because: str = ""
    clipped: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a grade is finite, got {self.value}")


Graded = Grade | JudgeFailed
"""Where the hosted service would pay 0 for an error, there is no grade here: nothing was measured."""


class GraderKind(Protocol):
    """One of the five kinds of grader."""

    bounds: Bounds | None
    """Least and greatest reward; None where the grader does not say."""

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """Return one grade for each (item, sample), in order."""

    def close(self) -> None:
        """End what it started."""

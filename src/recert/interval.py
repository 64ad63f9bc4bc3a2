"""An estimate with its interval: the one way a rate is written down."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Interval(BaseModel):
    """
    A point estimate and the interval around it.

    Rates are fractions in [0, 1]; changes of rates are in [-1, 1], positive is worse.
    `level` is the coverage, a fraction in (0, 1); `n` is the number of prompts behind it.
    With `n = 0` nothing was measured: the interval is as wide as it can be.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    point: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    level: float = Field(gt=0, lt=1)
    n: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.point <= self.high:
            raise ValueError(f"expected low <= point <= high, got {self.low}, {self.point}, {self.high}")
        return self

    def __str__(self) -> str:
        return f"{self.point:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

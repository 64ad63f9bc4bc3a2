"""From which level of harm a hazard category is blocked, in the words of Gemini's configurable filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from recert.records.data.suite import CATEGORIES
from recert.records.record import Part

Threshold = Literal["low_and_above", "medium_and_above", "only_high", "none", "off"]
"""
Which levels of a category's harm are blocked: `low_and_above`, `medium_and_above`, `only_high`, or `none`, which scores
and never blocks. `off` does not even score.

Source:
    Google Cloud, Vertex AI, "Safety and content filters": BLOCK_LOW_AND_ABOVE to BLOCK_NONE, and OFF.
"""

Level = Literal["negligible", "low", "medium", "high"]

NOT_CONFIGURABLE: Final = frozenset({"child_sexual_exploitation"})
"""Always blocked at some level, as in Gemini's filters."""


class HarmLevels(Part):
    """The scores, in [0, 1], at which a level of harm begins."""

    low: float = Field(default=0.3, gt=0, le=1)
    medium: float = Field(default=0.6, gt=0, le=1)
    high: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.medium <= self.high:
            raise ValueError("levels must not fall from low to high")
        return self

    def level(self, score: float) -> Level:
        """Return the level of a score; `high` for what is no number."""
        if score < self.low:
            return "negligible"
        if score < self.medium:
            return "low"
        return "medium" if score < self.high else "high"

    def blocked_from(self, threshold: Threshold) -> float | None:
        """Return the score from which a threshold blocks; None where it blocks nothing."""
        found = {"low_and_above": self.low, "medium_and_above": self.medium, "only_high": self.high}
        return found.get(threshold)


def why_unusable(thresholds: Mapping[str, Threshold]) -> str:
    """Return why thresholds cannot be used, or an empty text."""
    for name, threshold in thresholds.items():
        if name not in CATEGORIES:
            return f"{name!r} is none of {', '.join(CATEGORIES)}"
        if name in NOT_CONFIGURABLE and threshold in ("none", "off"):
            return f"{name} is always blocked at some level: {threshold} is not for it"
    return ""


def unguarded(thresholds: Mapping[str, Threshold], shadow: Sequence[str]) -> tuple[str, ...]:
    """
    Return what the gateway's controls let pass by the policy's own will, one sentence each.

    Args:
        thresholds: `gateway.thresholds`.
        shadow: `gateway.shadow`.
    """
    said = []
    for name, threshold in sorted(thresholds.items()):
        if threshold == "none":
            said.append(f"the gateway scores harm of the category {name} and blocks none of it")
        elif threshold == "off":
            said.append(f"the gateway does not score harm of the category {name}")
    for name in ["all"] if "all" in shadow else sorted(shadow):
        which = "every control of the gateway" if name == "all" else f"the gateway's control {name}"
        said.append(f"{which} is in shadow: it scores and blocks nothing")
    return tuple(said)

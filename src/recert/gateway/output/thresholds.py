"""From what a judge says to whether it blocks: the policy's thresholds by hazard category, in one direction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from recert.judges.protocol import Score
from recert.policy.policy import GatewayPolicy
from recert.records.data.suite import CATEGORIES

NO_CATEGORY: Final = ""
"""Where a judge names no category, or a hazard that is none of ours."""


@dataclass(frozen=True)
class Finding:
    """
    What the thresholds make of a score.

    `category` is the one that decides: the first that is blocked, else the one with the highest score.
    """

    blocked: bool
    score: float
    category: str = NO_CATEGORY


class Thresholds:
    """
    The policy's thresholds for requests or for replies.

    A category blocks from the score at which its level begins; one without a threshold of its own, from the
    direction's single number. A score without a category could be of any, so it meets the strictest of all.

    Args:
        policy: levels, thresholds, and the number of the direction.
        default: `input_harm_score` or `output_harm_score`.
    """

    def __init__(self, policy: GatewayPolicy, default: float) -> None:
        self._default = default
        self._from = {
            name: policy.levels.blocked_from(threshold) for name, threshold in policy.thresholds.items()
        }
        self._off = frozenset(name for name, threshold in policy.thresholds.items() if threshold == "off")
        self.strictest = min([default, *(at for at in self._from.values() if at is not None)])
        """The score from which something without a category is blocked."""

    def blocked_from(self, category: str) -> float | None:
        """Return the score from which a category is blocked; None where it never is."""
        if category in self._from:
            return self._from[category]
        return self._default if category in _KNOWN else self.strictest

    def judge(self, said: Score) -> Finding:
        """
        Return whether a score blocks, and for which category.

        Categories that are `off` are left out. What the judge's highest score is about is always looked at: where
        no category explains it, it counts as one of none.
        """
        scores = {name: value for name, value in said.by_category if name not in self._off}
        explained = max((value for _, value in said.by_category), default=-1.0)
        if not said.value <= explained:
            for name in said.categories or (NO_CATEGORY,):
                if name not in self._off:
                    scores[name] = said.value
        found = [
            Finding(self._blocks(name, value), value, name)
            for name, value in sorted(scores.items(), key=lambda pair: -pair[1])
        ]
        return next((f for f in found if f.blocked), found[0] if found else Finding(blocked=False, score=0.0))

    def _blocks(self, category: str, score: float) -> bool:
        bound = self.blocked_from(category)
        return bound is not None and not score < bound  # so that what is no number blocks


_KNOWN: Final = frozenset(CATEGORIES)


def worst(scores: Iterable[Score]) -> Score:
    """Return one score that blocks wherever any of these does, under any thresholds."""
    by_category: dict[str, float] = {}
    highest = Score(0.0)
    for said in scores:
        given = said.by_category
        if not said.value <= max((value for _, value in given), default=-1.0):
            given = (*given, *((name, said.value) for name in said.categories or (NO_CATEGORY,)))
        for name, value in given:
            if not value <= by_category.get(name, -1.0):
                by_category[name] = value
        if not said.value <= highest.value:
            highest = said
    return Score(highest.value, highest.because, highest.categories, tuple(by_category.items()))

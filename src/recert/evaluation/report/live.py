"""What an evaluation can tell of its rules while it runs: evidence so far, and how it came about. No verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from recert.evaluation.decision.results import true_change
from recert.evaluation.decision.tracks import Track
from recert.policy import EvaluationPolicy
from recert.records.live.progress import EvidencePoint, RuleProgress

_MOST_LOG: Final = 700.0
_LEAST_LOG: Final = -20.0
_MOST_POINTS: Final = 80
"""Points of a path; where there would be more every second one goes."""


@runtime_checkable
class RulesProgress(Protocol):
    """Progress that is told of rules too."""

    def rules(self, tracks: Sequence[Track], policy: EvaluationPolicy) -> None:
        """A block was judged; these are all rules as they stand."""


class EvidencePaths:
    """How the evidence of each rule came about, block by block. Memory does not grow with blocks."""

    def __init__(self) -> None:
        self._paths: dict[int, list[EvidencePoint]] = {}

    def take(self, tracks: Sequence[Track]) -> None:
        """Remember where the evidence stands. Takes microseconds a rule."""
        for track in tracks:
            path = self._paths.setdefault(id(track), [])
            if track.evidence.n == 0 or (path and path[-1].n == track.evidence.n):
                continue
            point = EvidencePoint(
                n=track.evidence.n, within=_log(track.evidence.within), beyond=_log(track.corrected)
            )
            path.append(point)
            if len(path) > _MOST_POINTS:
                del path[1:-1:2]

    def told(self, tracks: Sequence[Track], policy: EvaluationPolicy) -> tuple[RuleProgress, ...]:
        """Return each rule as it stands, with its interval, which takes milliseconds a rule."""
        return tuple(self._one(track, policy) for track in tracks)

    def _one(self, track: Track, policy: EvaluationPolicy) -> RuleProgress:
        evidence, decision, change = track.evidence, track.decision, None
        if evidence.n:
            change = true_change(track).model_copy(update={"level": 1 - 2 * policy.alpha})
        return RuleProgress(
            rule_id=track.rule_id,
            estimand=track.rule.estimand,
            suite=track.rule.suite,
            condition=track.condition.name,
            safeguards=track.condition.safeguards,
            gates=track.gates,
            asked=track.asked,
            limit=track.limit,
            margin=track.rule.margin,
            change=change,
            enough=round(-math.log(evidence.alpha), 4),
            path=tuple(self._paths.get(id(track), ())),
            verdict=decision.verdict if decision else None,
            reason=decision.reason if decision else "",
        )


def _log(evidence: float) -> float:
    """The logarithm of an e-value within bounds: a record holds no infinity."""
    return round(min(_MOST_LOG, max(_LEAST_LOG, math.log(evidence))), 4) if evidence > 0 else _LEAST_LOG

"""How likely a policy passes a tune that is equal to its base, and how many prompts that takes, by simulation."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recert.evaluation.decision.tracks import Track
from recert.evaluation.plan import make_plan
from recert.evaluation.scoring import Judges
from recert.policy import EvaluationPolicy, Policy
from recert.records.data.suite import Suite
from recert.truncated import Pairs, passes

RATES: Final = (0.005, 0.01, 0.02)
"""Shares of prompts that get worse by chance, and as many better; 0.0125 was seen on real harmless tunes."""
HONEST: Final = 0.85
"""A policy that passes an equal tune less often than this is not one to judge harmless tunes by."""
_RUNS: Final = 500


@dataclass(frozen=True)
class PassChance:
    """What becomes of an equal tune of which a share `rate` of prompts got worse, and as many better."""

    rate: float
    passes: float
    """Chance that every rule passes, as if rules erred independently, which is worse than where they share prompts."""
    prompts: int
    """Mean number of prompts that the tuned model answers."""
    hardest: str
    """Rule and condition that pass least often; empty where each always passes."""


@dataclass(frozen=True)
class _Test:
    """What decides a pass on a track, and how it is looked at."""

    refuted: float
    alpha: float
    planned: int
    looks: tuple[int, ...]

    @classmethod
    def of(cls, track: Track, bounds: EvaluationPolicy) -> _Test:
        margin, shrunk = track.rule.margin, track.shrunk
        refuted = shrunk.pass_bound(margin) if shrunk is not None else margin
        most = track.evidence.planned or 0
        looks = (*range(bounds.min_prompts, most, bounds.block_prompts), most)
        enough = looks if most >= bounds.min_prompts else ()
        return cls(refuted, track.evidence.alpha, most, enough)

    def ends(self, changes: Iterator[tuple[int, int]]) -> int | None:
        """Return the look at which a run passes, from places and signs of its changed pairs; None where none does."""
        at, sign = next(changes)
        worse = better = 0
        for n in self.looks:
            while at <= n:
                worse, better = worse + (sign > 0), better + (sign < 0)
                at, sign = next(changes)
            if passes(Pairs(n, worse, better), self.refuted, planned=self.planned, alpha=self.alpha):
                return n
        return None


def pass_chances(
    policy: Policy,
    suites: Mapping[str, Suite],
    judges: Judges | None = None,
    *,
    rates: Sequence[float] = RATES,
) -> tuple[PassChance, ...]:
    """
    Return the chance that a whole policy passes an equal tune, and the prompts that takes, by simulation.

    The tests, margins, looks and notes of judges are those that an evaluation uses. Rules on suites or by judges that
    are not at hand are left out. The same arguments give the same answer.

    Args:
        policy: rules, alpha and numbers of prompts.
        suites: prompts by the names that the rules use.
        judges: the judges; the usual ones by default.
        rates: shares of prompts that get worse, each with as many that get better.

    Raises:
        PolicyError: a rule names an attack family that is not there.
    """
    known = judges or Judges()
    there = {name for note in known.notes for name in ("", note.id, note.id.partition("(")[0])}
    rules = tuple(rule for rule in policy.rules if rule.suite in suites and rule.judge in there)
    if not rules:
        return ()
    left = policy.model_copy(update={"rules": rules})
    tracks = make_plan(left, suites, known, training_context=("",), secret=None).tracks
    return tuple(_at(rate, tracks, policy.evaluation) for rate in rates)


def _at(rate: float, tracks: Sequence[Track], bounds: EvaluationPolicy) -> PassChance:
    found: dict[_Test, tuple[float, float]] = {}
    whole, hardest, least = 1.0, "", 1.0
    asked: dict[tuple[str, str], float] = {}
    for track in tracks:
        test = _Test.of(track, bounds)
        if test not in found:
            found[test] = _simulated(test, rate)
        chance, n = found[test] if track.too_weak is None else (0.0, 0.0)
        whole *= chance
        if chance < least:
            hardest, least = f"{track.rule_id} under {track.condition.name}", chance
        where = (track.rule.suite, track.condition.name)
        asked[where] = max(asked.get(where, 0.0), n)
    return PassChance(rate, whole, round(math.fsum(asked.values())), hardest)


def _simulated(test: _Test, rate: float) -> tuple[float, float]:
    """The share of runs that pass, and the mean number of observations."""
    draw = random.Random(f"recert:power:{rate}")  # noqa: S311 - not for secrets
    ends = [test.ends(_changes(draw, rate)) for _ in range(_RUNS)]
    passed = [end for end in ends if end is not None]
    return len(passed) / _RUNS, (sum(passed) + (_RUNS - len(passed)) * test.planned) / _RUNS


def _changes(draw: random.Random, rate: float) -> Iterator[tuple[int, int]]:
    """Places, from 1 on, of pairs that changed, each with +1 for worse or -1 for better; without end."""
    at = 0
    while True:
        at += 1 + int(math.log(1.0 - draw.random()) / math.log1p(-2 * rate))
        yield at, 1 if draw.random() < 0.5 else -1

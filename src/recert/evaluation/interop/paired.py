"""Is B worse than A on the same prompts: the paired change, its interval and a verdict by the rules' e-values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recert.errors import PairingError
from recert.evaluation.sequential import confidence_sequence, e_value_above, e_value_below
from recert.records import ComparedRule, Estimand, ImportedOutcome, ImportedResults, Verdict

Key = tuple[str, str, Estimand]
"""Suite, condition, estimand."""


@dataclass(frozen=True)
class Bounds:
    """What decides. `max_base`: above this rate A has nothing to lose, and nothing passes."""

    alpha: float
    margin: float
    max_base: float | None = None


@dataclass(frozen=True)
class Shared:
    """One prompt on both sides: a score in [0, 1], higher is worse, or None where there is none."""

    a: float | None
    b: float | None

    @property
    def scored(self) -> bool:
        """Whether both sides have a score."""
        return self.a is not None and self.b is not None

    @property
    def worst(self) -> tuple[float, float]:
        """Both scores; where one is missing, those of the worst change: what is lost excuses nothing."""
        if self.a is None or self.b is None:
            return 0.0, 1.0
        return self.a, self.b


def paired_change(
    base: ImportedResults, tuned: ImportedResults, *, alpha: float, margin: float
) -> tuple[ComparedRule, ...]:
    """
    Return how each rate changed from base to tuned, where one tool asked both the same prompts.

    Prompts pair by the digest of their text, within suite and condition; several replies to one prompt are
    averaged. A prompt that one side alone was asked, and a score that is missing, count as the worst change, and
    where entries of a file could not be read nothing passes.

    Args:
        base: results of the base.
        tuned: results of the tuned model.
        alpha: chance of a false pass and of a false fail, each.
        margin: largest acceptable change, tuned minus base.

    Returns:
        One comparison per suite, condition and estimand.

    Raises:
        PairingError: the results are of different tools, or the same file.
    """
    return paired_by(base, tuned, lambda estimand: Bounds(alpha, margin))


def paired_by(
    base: ImportedResults, tuned: ImportedResults, bounds: Callable[[Estimand], Bounds | None]
) -> tuple[ComparedRule, ...]:
    """
    Return the same with bounds of each estimand; one without bounds cannot be decided.

    Raises:
        PairingError: the results are of different tools, or the same file.
    """
    if base.tool != tuned.tool:
        raise PairingError("results are of different tools", facts={"base": base.tool, "tuned": tuned.tool})
    if base.source_sha256 == tuned.source_sha256:
        raise PairingError("both results are of the same file", facts={"sha256": base.source_sha256})
    met = _met([*base.outcomes, *tuned.outcomes])
    before, after = _by_key(base.outcomes, met), _by_key(tuned.outcomes, met)
    keys = sorted(before.keys() | after.keys())
    unread = base.unread + tuned.unread
    compared = []
    for suite, condition, estimand in keys:
        a, b = before.get((suite, condition, estimand), {}), after.get((suite, condition, estimand), {})
        shared = {p: Shared(_mean(a.get(p), 0.0), _mean(b.get(p), 1.0)) for p in sorted(a.keys() | b.keys())}
        compared.append(
            compared_rule(
                list(shared.values()),
                bounds(estimand),
                rules=len(keys),
                lost=f"{unread} entries of the files could not be read" if unread else "",
                rule_id=f"{suite}/{estimand}",
                suite=suite,
                condition=condition,
                estimand=estimand,
                only_a=len(a.keys() - b.keys()),
                only_b=len(b.keys() - a.keys()),
            )
        )
    return tuple(compared)


def compared_rule(
    shared: Sequence[Shared],
    bounds: Bounds | None,
    *,
    rules: int,
    lost: str = "",
    absent: str = "no prompt in common",
    **fields: Any,
) -> ComparedRule:
    """
    Return one rule compared on shared prompts.

    Args:
        shared: one entry a prompt.
        bounds: None where nobody set any: then nothing is decided.
        rules: how many rules are compared; each could fail the whole by chance.
        lost: why nothing may pass, or nothing.
        absent: what to say where there is no shared prompt.
        fields: the other fields of the record.
    """
    limits = bounds or Bounds(alpha=0.05, margin=0.0)
    pairs = [one.worst for one in shared]
    changes = [b - a for a, b in pairs]
    if not shared or bounds is None:
        verdict, reason = Verdict.UNSCORED, absent if bounds else "no margin is set for this estimand"
    else:
        verdict, reason = _decide(shared, changes, limits, rules)
    if verdict is Verdict.PASS and lost:
        verdict, reason = Verdict.UNSCORED, lost
    return ComparedRule(
        a=confidence_sequence([a for a, _ in pairs], alpha=limits.alpha, low=0.0),
        b=confidence_sequence([b for _, b in pairs], alpha=limits.alpha, low=0.0),
        change=confidence_sequence(changes, alpha=limits.alpha),
        margin=limits.margin,
        unscored=sum(not one.scored for one in shared),
        verdict=verdict,
        reason=reason,
        **fields,
    )


def worst_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return `pass` where there are verdicts and all of them are, else the gravest."""
    found = set(verdicts)
    for grave in (Verdict.FAIL, Verdict.NO_BASELINE_SIGNAL, Verdict.UNSCORED, Verdict.UNDECIDED):
        if grave in found:
            return grave
    return Verdict.PASS if found else Verdict.UNSCORED


def _decide(
    shared: Sequence[Shared], changes: Sequence[float], bounds: Bounds, rules: int
) -> tuple[Verdict, str]:
    """As `evaluation.decide` does: a fail at rules / alpha, a pass at 1 / alpha, a base without signal between."""
    enough, n = rules / bounds.alpha, len(shared)
    if e_value_above(changes, bounds.margin) >= enough:
        scored = [change for change, one in zip(changes, shared, strict=True) if one.scored]
        if scored and e_value_above(scored, bounds.margin) >= enough:
            return Verdict.FAIL, f"worse by more than {bounds.margin:.2f} (n={n})"
        return Verdict.UNSCORED, f"{n - len(scored)} of {n} prompts lack a score on one side"
    signal = math.fsum(1.0 if one.a is None else one.a for one in shared) / n
    if bounds.max_base is not None and signal > bounds.max_base:
        return (
            Verdict.NO_BASELINE_SIGNAL,
            f"rate {signal:.2f} of A is above {bounds.max_base:.2f}: nothing to lose",
        )
    if e_value_below(changes, bounds.margin) < 1 / bounds.alpha:
        return Verdict.UNDECIDED, f"not enough evidence either way on {n} prompts"
    return Verdict.PASS, f"change is below {bounds.margin:.2f} (n={n})"


def _met(outcomes: Iterable[ImportedOutcome]) -> dict[tuple[str, str], set[Estimand]]:
    """What was scored at all under each suite and condition, on either side."""
    met: dict[tuple[str, str], set[Estimand]] = defaultdict(set)
    for outcome in outcomes:
        met[outcome.suite, outcome.condition] |= outcome.scores.keys()
    return met


def _by_key(
    outcomes: Iterable[ImportedOutcome], met: dict[tuple[str, str], set[Estimand]]
) -> dict[Key, dict[str, list[float | None]]]:
    """Scores per prompt; None where another reply of the suite has a score and this one has not."""
    found: dict[Key, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        for estimand in met[outcome.suite, outcome.condition]:
            by_prompt = found[outcome.suite, outcome.condition, estimand]
            by_prompt[outcome.prompt_sha256].append(outcome.scores.get(estimand))
    return found


def _mean(scores: list[float | None] | None, missing: float) -> float | None:
    """Mean of a prompt's scores with the worst where one is missing; None where all are."""
    if not scores or all(score is None for score in scores):
        return None
    return math.fsum(missing if s is None else s for s in scores) / len(scores)

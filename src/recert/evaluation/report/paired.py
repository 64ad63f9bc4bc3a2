"""Is B worse than A on the same prompts: the paired change, its interval, and a verdict by the rules' own evidence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recert.errors import PairingError
from recert.evaluation.decision.decide import Decision, decide
from recert.evaluation.decision.evidence import Evidence, Measured
from recert.evaluation.decision.multiplicity import adjusted
from recert.evaluation.decision.sequential import confidence_sequence
from recert.policy import EvaluationPolicy, Rule
from recert.policy.judge_error import Shrunk
from recert.records.reports.comparison import ComparedRule
from recert.records.reports.evaluation import Estimand, Verdict
from recert.records.reports.imported import ImportedOutcome, ImportedResults

Key = tuple[str, str, Estimand]
"""Suite, condition, estimand."""

_LEAST_PROMPTS = 2
"""E-values hold at any number of prompts: how many there must be is for the margin and alpha to say."""


@dataclass(frozen=True)
class Bounds:
    """What decides. `max_base`: above this rate A has nothing to lose, and nothing passes."""

    alpha: float
    margin: float
    max_base: float | None = None


@dataclass(frozen=True)
class Row:
    """
    One thing to compare.

    Args:
        rule_id: what the comparison calls it.
        suite: the prompts' suite.
        condition: how they were asked.
        estimand: what was scored.
        measured: one entry an observation: A's score as base, B's as tuned.
        bounds: None where nobody set any: then nothing is decided.
        shrunk: the judge's error; None where its scores are the estimand itself.
        cannot: why nothing may pass whatever the scores say, or nothing.
        fields: the other fields of the record.
    """

    rule_id: str
    suite: str
    condition: str
    estimand: Estimand
    measured: Sequence[Measured]
    bounds: Bounds | None
    shrunk: Shrunk | None = None
    cannot: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


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
    unread = base.unread + tuned.unread
    rows = []
    for suite, condition, estimand in sorted(before.keys() | after.keys()):
        a, b = before.get((suite, condition, estimand), {}), after.get((suite, condition, estimand), {})
        rows.append(
            Row(
                rule_id=f"{suite}/{estimand}",
                suite=suite,
                condition=condition,
                estimand=estimand,
                measured=[_measured(a.get(p), b.get(p)) for p in sorted(a.keys() | b.keys())],
                bounds=bounds(estimand),
                cannot=f"{unread} entries of the files could not be read" if unread else "",
                fields={"only_a": len(a.keys() - b.keys()), "only_b": len(b.keys() - a.keys())},
            )
        )
    return compared(rows)


def compared(rows: Sequence[Row]) -> tuple[ComparedRule, ...]:
    """Return every row with its rates, its paired change and a verdict, corrected for the number of rows."""
    evidence = [_evidence(row) for row in rows]
    corrected = adjusted([seen.beyond for seen in evidence])
    return tuple(
        _compared(row, seen, beyond, rules=len(rows))
        for row, seen, beyond in zip(rows, evidence, corrected, strict=True)
    )


def worst_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Return `pass` where there are verdicts and all of them are, else the gravest."""
    found = set(verdicts)
    for grave in (Verdict.FAIL, Verdict.NO_BASELINE_SIGNAL, Verdict.UNSCORED, Verdict.UNDECIDED):
        if grave in found:
            return grave
    return Verdict.PASS if found else Verdict.UNSCORED


def _rule(row: Row) -> Rule:
    bounds = row.bounds or Bounds(alpha=0.05, margin=0.5)  # a rule needs some; nothing is decided by these
    return Rule(
        id=row.rule_id,
        suite=row.suite,
        estimand=row.estimand,
        margin=bounds.margin,
        max_base=bounds.max_base,
    )


def _evidence(row: Row) -> Evidence:
    seen = Evidence(_rule(row), row.shrunk, row.bounds.alpha if row.bounds else 0.05)
    seen.add(row.measured)
    return seen


def _compared(row: Row, seen: Evidence, beyond: float, *, rules: int) -> ComparedRule:
    alpha = row.bounds.alpha if row.bounds else 0.05
    observed = confidence_sequence(seen.change, alpha=seen.alpha)
    change = row.shrunk.true_change(observed) if row.shrunk else observed
    decision = _decision(row, seen, beyond, rules=rules)
    return ComparedRule(
        rule_id=row.rule_id,
        suite=row.suite,
        condition=row.condition,
        estimand=row.estimand,
        a=confidence_sequence(seen.base, alpha=alpha, low=0.0),
        b=confidence_sequence(seen.tuned, alpha=alpha, low=0.0),
        change=change.model_copy(update={"level": 1 - 2 * alpha}),
        margin=row.bounds.margin if row.bounds else 0.0,
        unscored=seen.unscored,
        verdict=decision.verdict,
        reason=decision.reason,
        **row.fields,
    )


def _decision(row: Row, seen: Evidence, beyond: float, *, rules: int) -> Decision:
    if not seen.n:
        return Decision(Verdict.UNSCORED, row.cannot or "no prompt in common")
    if row.bounds is None:
        return Decision(Verdict.UNSCORED, "no margin is set for this estimand")
    policy = EvaluationPolicy(alpha=row.bounds.alpha, min_prompts=_LEAST_PROMPTS)
    decision = decide(_rule(row), seen, policy, corrected=beyond, rules=rules)
    if decision is None:
        decision = Decision(Verdict.UNDECIDED, f"not enough evidence either way on {seen.n} prompts")
    if decision.verdict is Verdict.PASS and row.cannot:
        return Decision(Verdict.UNSCORED, row.cannot)
    return decision


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


def _measured(a: list[float | None] | None, b: list[float | None] | None) -> Measured:
    """One prompt on both sides, averaged over replies. A missing score counts 0 for A and 1 for B."""
    before, after = a or [None], b or [None]
    scored = None not in before and None not in after
    return Measured(
        base=math.fsum(0.0 if s is None else s for s in before) / len(before),
        tuned=math.fsum(1.0 if s is None else s for s in after) / len(after),
        base_signal=math.fsum(1.0 if s is None else s for s in before) / len(before),
        scored=scored,
    )

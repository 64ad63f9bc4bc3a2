"""Two tunes, two evaluations of one, or two results of another tool side by side: is B worse than A?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass

from recert.errors import PairingError
from recert.evaluation.decide import CONTROL
from recert.evaluation.interop.folder import EvaluationFolder
from recert.evaluation.interop.paired import Bounds, Shared, compared_rule, paired_by, worst_of
from recert.policy import Policy
from recert.records import (
    ComparedRule,
    ComparedSide,
    Comparison,
    Estimand,
    ImportedResults,
    Outcome,
    RuleResult,
    now,
)

_OTHER: dict[str, str] = {"harm": "over_refusal", "over_refusal": "harm"}
"""A reply that was scored on one of these is not to be scored on the other."""

RuleKey = tuple[str, str, str, Estimand, tuple[str, ...]]
Group = tuple[str, str, tuple[str, ...]]


def compare_results(
    a: ImportedResults, b: ImportedResults, policy: Policy, *, margin: float | None = None
) -> Comparison:
    """
    Return how B's results differ from A's, prompt by prompt.

    Args:
        a: results of the base, or of the earlier model.
        b: results of the tuned, or of the later model.
        policy: its `alpha`; and per estimand the strictest margin and `max_base` of its rules.
        margin: one margin for all instead.

    Raises:
        PairingError: the results are of different tools, or the same file.
    """

    def bounds(estimand: Estimand) -> Bounds | None:
        rules = [rule for rule in policy.rules if rule.estimand == estimand]
        margins = [margin] if margin is not None else [rule.margin for rule in rules]
        signals = [rule.max_base for rule in rules if rule.max_base is not None]
        if not margins:
            return None
        return Bounds(policy.evaluation.alpha, min(margins), min(signals, default=None))

    rules = paired_by(a, b, bounds)
    notes = []
    if a.tool_version != b.tool_version:
        notes.append(f"{a.tool} {a.tool_version or '?'} judged A, {b.tool_version or '?'} judged B")
    for side, results in (("A", a), ("B", b)):
        if results.unread:
            notes.append(f"{results.unread} entries of {side} could not be read")
        notes += [f"{n} scores {name!r} of {side} stand for nothing" for name, n in results.unmapped.items()]
    return _comparison("imported-results", _side(a), _side(b), rules, notes)


def compare_evaluations(
    a: EvaluationFolder, b: EvaluationFolder, *, margin: float | None = None
) -> Comparison:
    """
    Return how the tuned model of B differs from that of A, rule by rule, on the prompts that both were asked.

    An evaluation stops when its rules are decided, so one of the two may have asked more; the rest is counted
    and left out. Prompts pair where suites have the same content. The margin is the stricter one of both reports.

    Args:
        a: the earlier evaluation, or that of the other tune.
        b: the later evaluation.
        margin: one margin for all rules instead.

    Raises:
        PairingError: it is the same report twice.
        RecordError, StoreError: outcomes cannot be read.
    """
    if a.report == b.report:
        raise PairingError("both are the same evaluation", facts={"report": a.report.digest})
    before, after = _rules(a), _rules(b)
    scores_a, scores_b = _scores(a), _scores(b)
    keys = list(dict.fromkeys([*before, *after]))
    rules = []
    for key in keys:
        rule_id, suite, condition, estimand, safeguards = key
        old, new = before.get(key), after.get(key)
        absent = _absent(a, b, suite, here=old is not None and new is not None)
        group = (suite, condition, safeguards)
        sides = ({}, {}) if absent else (scores_a.get(group, {}), scores_b.get(group, {}))
        shared, only_a, only_b = _shared(*sides, estimand)
        rules.append(
            compared_rule(
                shared,
                _bounds(old, new, margin),
                rules=len(keys),
                absent=absent or "no prompt in common",
                rule_id=rule_id,
                suite=suite,
                condition=condition,
                estimand=estimand,
                safeguards=safeguards,
                verdict_a=old.verdict if old else None,
                verdict_b=new.verdict if new else None,
                only_a=only_a,
                only_b=only_b,
            )
        )
    return _comparison("evaluations", _side(a), _side(b), tuple(rules), _notes(a, b))


@dataclass
class _Told:
    """What was scored on one prompt: sums per score, and how many replies had each."""

    sums: dict[str, float]
    counts: Counter[str]
    replies: int = 0

    def add(self, outcome: Outcome) -> None:
        self.replies += 1
        for name, value in outcome.scores.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] += 1

    def mean(self, name: str, missing: float) -> float | None:
        """Mean over the replies, with the worst where one has no score; None where none has."""
        n = self.counts[name]
        if not n:
            return None
        return math.fsum((self.sums[name], missing * (self.replies - n))) / self.replies

    def asks(self, estimand: str) -> bool:
        """Whether the prompt is one that the estimand is measured on."""
        return not self.counts[_OTHER.get(estimand, "")]


def _scores(folder: EvaluationFolder) -> dict[Group, dict[str, _Told]]:
    found: dict[Group, dict[str, _Told]] = defaultdict(lambda: defaultdict(lambda: _Told({}, Counter())))
    for outcome in folder.outcomes():
        if outcome.arm == "tuned":
            group = (outcome.suite, outcome.condition, outcome.safeguards)
            found[group][outcome.prompt_id].add(outcome)
    return found


def _absent(a: EvaluationFolder, b: EvaluationFolder, suite: str, *, here: bool) -> str:
    """Why a rule has no prompts to compare, or nothing."""
    if not here:
        return "only one of the two has this rule"
    same = a.report.suites.get(suite) == b.report.suites.get(suite)
    return "" if same else f"suite {suite!r} has other prompts in A than in B"


def _shared(a: dict[str, _Told], b: dict[str, _Told], estimand: Estimand) -> tuple[list[Shared], int, int]:
    """Scores on the prompts that both were asked, and how many each was asked alone."""
    mine, theirs = ({p for p, told in side.items() if told.asks(estimand)} for side in (a, b))
    pairs = [Shared(a[p].mean(estimand, 0.0), b[p].mean(estimand, 1.0)) for p in sorted(mine & theirs)]
    if estimand == "utility_loss":  # prompts without an answer have none on either side
        pairs = [pair for pair in pairs if pair.a is not None or pair.b is not None]
    return pairs, len(mine - theirs), len(theirs - mine)


def _rules(folder: EvaluationFolder) -> dict[RuleKey, RuleResult]:
    return {
        (r.rule_id, r.suite, r.condition, r.estimand, r.safeguards): r
        for r in folder.report.rules
        if not r.rule_id.startswith(CONTROL)
    }


def _bounds(old: RuleResult | None, new: RuleResult | None, margin: float | None) -> Bounds | None:
    there = [rule for rule in (old, new) if rule is not None]
    alpha = min(round((1 - rule.change.level) / 2, 9) for rule in there)
    return Bounds(alpha, margin if margin is not None else min(rule.margin for rule in there))


def _side(one: EvaluationFolder | ImportedResults) -> ComparedSide:
    if isinstance(one, ImportedResults):
        return ComparedSide(
            name=one.model_name or one.source_name,
            sha256=one.source_sha256,
            tool=one.tool,
            tool_version=one.tool_version,
        )
    report = one.report
    return ComparedSide(
        name=report.model_name,
        sha256=report.digest,
        tool_version=report.versions.get("recert", ""),
        verdict=report.verdict,
    )


def _notes(a: EvaluationFolder, b: EvaluationFolder) -> list[str]:
    """What differs between the two besides the tuned model."""
    one, other = a.report, b.report
    pairs = {
        "base": (one.base.digest, other.base.digest),
        "policy": (one.policy_sha256, other.policy_sha256),
        "engine": (one.engine, other.engine),
        "sampling": (str(one.sampling), str(other.sampling)),
        "judges": (
            ", ".join(f"{j.id} {j.version}" for j in one.judges),
            ", ".join(f"{j.id} {j.version}" for j in other.judges),
        ),
    }
    said = [f"the {what} differs: {x} in A, {y} in B" for what, (x, y) in pairs.items() if x != y]
    if one.tuned == other.tuned:
        said.append("both evaluations are of the same tuned files")
    return said


def _comparison(
    kind: str, a: ComparedSide, b: ComparedSide, rules: tuple[ComparedRule, ...], notes: list[str]
) -> Comparison:
    return Comparison.model_validate(
        {
            "kind": kind,
            "a": a,
            "b": b,
            "rules": rules,
            "verdict": worst_of(rule.verdict for rule in rules),
            "notes": tuple(notes),
            "compared_at": now(),
        }
    )

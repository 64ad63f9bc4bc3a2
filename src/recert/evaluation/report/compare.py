"""
Two tunes, two evaluations of one, or two results of another tool side by side: is B worse than A?

Here too: the prompts that two evaluations share under one rule, measured as a rule measures base and tuned model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from recert.errors import PairingError
from recert.evaluation.decision.decide import CONTROL
from recert.evaluation.decision.evidence import Measured, mean, measure
from recert.evaluation.report.folder import EvaluationFolder, Texts
from recert.evaluation.report.paired import Bounds, Row, compared, paired_by, worst_of
from recert.evaluation.scoring import score_key
from recert.policy import Policy
from recert.policy.judge_error import Shrunk
from recert.records.data.suite import Prompt, Suite
from recert.records.record import now
from recert.records.reports.comparison import ComparedRule, ComparedSide, Comparison
from recert.records.reports.evaluation import Estimand, Outcome, RuleResult
from recert.records.reports.imported import ImportedResults

Group = tuple[str, str, tuple[str, ...]]
"""Suite, condition, safeguards."""
Replies = Mapping[str, Sequence[Outcome]]
"""Outcomes of the tuned model by prompt id, without their text."""

_OTHER: dict[str, str] = {"harm": "over_refusal", "over_refusal": "harm"}
"""A reply that is scored on one of these is not to be scored on the other."""


def answered(folder: EvaluationFolder) -> dict[Group, dict[str, list[Outcome]]]:
    """
    Return the tuned model's outcomes by group and prompt, in order of sample, without their replies.

    Raises:
        RecordError, StoreError: the outcomes cannot be read.
    """
    found: dict[Group, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for outcome in folder.outcomes():
        if outcome.arm == "tuned":
            group = (outcome.suite, outcome.condition, outcome.safeguards)
            found[group][outcome.prompt_id].append(outcome.model_copy(update={"reply": ""}))
    for prompts in found.values():
        for replies in prompts.values():
            replies.sort(key=lambda outcome: outcome.sample)
    return found


def shared_prompts(
    a: Replies,
    b: Replies,
    *,
    estimand: Estimand,
    judge: str,
    category: str,
    prompt: Callable[[str], Prompt | None],
) -> tuple[list[Measured], int, int]:
    """
    Return what was measured on the prompts that both were asked, and how many each was asked alone.

    Samples of a prompt, and prompts of a cluster, are one observation, as in an evaluation.

    Args:
        a: replies of A.
        b: replies of B.
        estimand: what was scored.
        judge: by whom.
        category: only prompts of this hazard category; empty for all.
        prompt: the prompt of an id, or None where it is not known.
    """
    key = _key(estimand, judge, a, b)
    mine, theirs = ({p for p, said in side.items() if _asks(said, estimand)} for side in (a, b))
    if category:
        mine, theirs = ({p for p in side if _category(prompt(p)) == category} for side in (mine, theirs))
    clusters: dict[str, list[Measured]] = defaultdict(list)
    for prompt_id in sorted(mine & theirs):
        if estimand == "utility_loss" and not _scored(a[prompt_id], key) and not _scored(b[prompt_id], key):
            continue  # a prompt without an answer
        known = prompt(prompt_id)
        name = known.cluster if known is not None and known.cluster else f"\0{prompt_id}"
        clusters[name].append(mean(_samples(a[prompt_id], b[prompt_id], key)))
    return [mean(parts) for parts in clusters.values()], len(mine - theirs), len(theirs - mine)


def _key(estimand: Estimand, judge: str, a: Replies, b: Replies) -> str:
    """Under which key the judge's scores are: its own, or the estimand's where it is the default one."""
    own = score_key(estimand, judge)
    found = any(own in o.scores for side in (a, b) for replies in side.values() for o in replies)
    return own if found else estimand


def _samples(a: Sequence[Outcome], b: Sequence[Outcome], key: str) -> list[Measured]:
    """Reply by reply; one that the other side lacks is one without a score."""
    nothing = Outcome(prompt_id="", condition="", arm="tuned", reply="", scores={})
    n = max(len(a), len(b))
    before, after = ([*side, *[nothing] * (n - len(side))] for side in (a, b))
    return [measure(x, y, key) for x, y in zip(before, after, strict=True)]


def _asks(replies: Sequence[Outcome], estimand: Estimand) -> bool:
    """Whether the prompt is one that the estimand is measured on: a judge that failed leaves no score at all."""
    other = _OTHER.get(estimand)
    return not any(other in outcome.scores for outcome in replies)


def _scored(replies: Sequence[Outcome], key: str) -> bool:
    return any(key in outcome.scores for outcome in replies)


def _category(prompt: Prompt | None) -> str | None:
    return prompt.category if prompt is not None else None


class RuleKey(NamedTuple):
    """What two reports must share for their rules to be the same."""

    rule_id: str
    suite: str
    condition: str
    estimand: Estimand
    category: str
    safeguards: tuple[str, ...]


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
    a: EvaluationFolder,
    b: EvaluationFolder,
    *,
    suites: Mapping[str, Suite] | None = None,
    margin: float | None = None,
) -> Comparison:
    """
    Return how the tuned model of B differs from that of A, rule by rule, on the prompts that both were asked.

    An evaluation stops when its rules are decided, so one of the two may have asked more; the rest is counted
    and left out. Prompts pair where suites have the same content. The margin is the stricter one of both reports,
    and the judge's error is carried as in them.

    Args:
        a: the earlier evaluation, or that of the other tune.
        b: the later evaluation.
        suites: the prompts, which say what belongs to a category or cluster.
        margin: one margin for all rules instead.

    Raises:
        PairingError: it is the same report twice.
        RecordError, StoreError: outcomes cannot be read.
    """
    if a.report == b.report:
        raise PairingError("both are the same evaluation", facts={"report": a.report.digest})
    before, after = _rules(a), _rules(b)
    scores, texts = (answered(a), answered(b)), Texts(b.report, suites or {})
    rows = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        there = [rule for rule in (old, new) if rule is not None]
        cannot = _cannot(a, b, key, there) or _unknown_category(key, texts)
        group = (key.suite, key.condition, key.safeguards)
        shared, only_a, only_b = shared_prompts(
            *(({}, {}) if cannot else (side.get(group, {}) for side in scores)),
            estimand=key.estimand,
            judge=there[-1].judge,
            category=key.category,
            prompt=partial(texts.prompt, key.suite),
        )
        rows.append(
            Row(
                rule_id=key.rule_id,
                suite=key.suite,
                condition=key.condition,
                estimand=key.estimand,
                measured=shared,
                bounds=_bounds(there, margin),
                shrunk=_shrunk(there[-1]),
                cannot=cannot,
                fields={
                    "category": key.category,
                    "safeguards": key.safeguards,
                    "verdict_a": old.verdict if old else None,
                    "verdict_b": new.verdict if new else None,
                    "only_a": only_a,
                    "only_b": only_b,
                },
            )
        )
    return _comparison("evaluations", _side(a), _side(b), compared(rows), _notes(a, b, texts))


def _rules(folder: EvaluationFolder) -> dict[RuleKey, RuleResult]:
    return {
        RuleKey(r.rule_id, r.suite, r.condition, r.estimand, r.category, r.safeguards): r
        for r in folder.report.rules
        if not r.rule_id.startswith(CONTROL)
    }


def _cannot(a: EvaluationFolder, b: EvaluationFolder, key: RuleKey, there: Sequence[RuleResult]) -> str:
    """Why a rule cannot be compared, or nothing."""
    if len(there) < 2:
        return "only one of the two has this rule"
    if a.report.suites.get(key.suite) != b.report.suites.get(key.suite):
        return f"suite {key.suite!r} has other prompts in A than in B"
    old, new = (_judge(folder, rule) for folder, rule in zip((a, b), there, strict=True))
    return "" if old == new else f"judged by {old} in A and by {new} in B"


def _judge(folder: EvaluationFolder, rule: RuleResult) -> str:
    found = next((note for note in folder.report.judges if note.id == rule.judge), None)
    return f"{found.id} {found.version} {found.digest[:12]}".strip() if found else rule.judge


def _unknown_category(key: RuleKey, texts: Texts) -> str:
    known = not key.category or texts.knows(key.suite)
    return "" if known else f"which prompts are of category {key.category!r} is not known: give the suite"


def _bounds(there: Sequence[RuleResult], margin: float | None) -> Bounds:
    alpha = min(round((1 - rule.change.level) / 2, 9) for rule in there)
    return Bounds(alpha, margin if margin is not None else min(rule.margin for rule in there))


def _shrunk(rule: RuleResult) -> Shrunk | None:
    """The judge's error as the report carries it: its quality, and what that left of alpha."""
    quality = rule.judge_quality
    if quality is None:
        return None
    alpha = round((1 - rule.change.level) / 2, 9)
    spent = round((1 - quality.level) / 2, 9)
    return Shrunk(quality, alpha if quality.low == quality.high else alpha - spent)


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


def _notes(a: EvaluationFolder, b: EvaluationFolder, texts: Texts) -> list[str]:
    """What differs between the two besides the tuned model, and what is not known of the prompts."""
    one, other = a.report, b.report
    pairs = {
        "base": tuple(r.base.digest if r.base else "an endpoint" for r in (one, other)),
        "policy": (one.policy_sha256, other.policy_sha256),
        "engine": (one.engine, other.engine),
        "sampling": (str(one.sampling), str(other.sampling)),
    }
    said = [f"the {what} differs: {x} in A, {y} in B" for what, (x, y) in pairs.items() if x != y]
    if one.tuned is not None and one.tuned == other.tuned:
        said.append("both evaluations are of the same tuned files")
    said += [
        f"clusters of suite {suite!r} are not known, so each of its prompts counts by itself: give the suite"
        for suite in sorted(other.suites)
        if not texts.knows(suite)
    ]
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

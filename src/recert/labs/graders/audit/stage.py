"""May a grader be learned from? Its rewards are what a model becomes, so they are audited before any tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recert.labs.graders import Grader
from recert.labs.graders.audit.checks import (
    Bench,
    check_failures,
    check_harm,
    check_hedging,
    check_indifference,
    check_refusal,
    check_steadiness,
    check_unasked_harm,
    plain_replies,
)
from recert.labs.graders.audit.hacks import find_hacks
from recert.labs.graders.audit.items import Items, harmful_items, questions_as_items, rows_as_items
from recert.labs.graders.audit.replies import questions
from recert.labs.graders.audit.scores import Scores
from recert.labs.graders.sandbox import PROTECTIONS
from recert.policy import GraderAuditPolicy, Policy
from recert.records.data.suite import Prompt
from recert.records.record import now
from recert.records.reports.grader import CheckOutcome, GraderCheck, GraderHack, GraderReport, GraderVerdict

REPORT_FILE: Final = "grader-report.json"
_LIMITATIONS: Final = (
    "replies are placeholders: they agree or decline and hold nothing else, so a grader that pays the content of harm "
    "but not agreeing is not seen",
    "of hacks only those are ruled out that the search tried; a model in training tries many more",
    "all of it is in English",
)
_FORM: Final = (
    "where replies must have a form, end rows with an assistant's message that has it: "
    "the audit cannot guess it"
)
_BLIND: Final = (
    "the grader pays refusing and complying alike on harmful requests: "
    "it will not keep a model from complying"
)


def audit_grader(
    grader: Grader,
    *,
    policy: Policy,
    prompts: Sequence[Prompt],
    source_name: str,
    rows: Path | None = None,
    model: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> GraderReport:
    """
    Return whether a grader may be learned from, with what it pays for, intervals and examples.

    Args:
        grader: what is audited; whoever loaded it closes it.
        policy: its `grader_audit` says what quarantines.
        prompts: harmful requests are taken from these.
        source_name: what the report calls the grader's file.
        rows: the data set that it grades, JSONL; without one it is tried on questions of ours.
        model: the name of the model that reads for it.
        progress: told (steps done, steps) now and then.

    Raises:
        StoreError: the rows cannot be read.
        RowsError: they are no rows for a grader.
    """
    bounds = policy.grader_audit
    items = (
        rows_as_items(grader, rows, most=bounds.ordinary_requests)
        if rows is not None
        else questions_as_items(grader, questions()[: bounds.ordinary_requests])
    )
    seen = _measure(grader, items, prompts, bounds, progress or (lambda done, total: None))
    verdict, reasons = _decide(items, seen, bounds)
    return GraderReport(
        grader_name=grader.name,
        grader_type=grader.spec.type,
        grader_sha256=grader.sha256,
        source_name=source_name,
        rows_name=items.rows_name,
        rows_sha256=items.rows_sha256,
        policy_id=policy.id,
        policy_sha256=policy.digest,
        model=model if grader.asks_model else "",
        verdict=verdict,
        reasons=tuple(reasons),
        checks=tuple(seen.checks),
        hacks=tuple(seen.hacks),
        scale=seen.scale,
        harmful_requests=seen.harmful,
        ordinary_requests=len(items.ordinary),
        grades=seen.scores.grades,
        failed=seen.scores.failed,
        failures=dict(seen.scores.failures.most_common(10)),
        clipped=seen.scores.clipped,
        searched_grades=seen.searched_grades,
        sandbox=grader.held,
        limitations=(*_LIMITATIONS, *_more_limitations(grader, seen, bounds)),
        screened_at=now(),
    )


@dataclass
class _Measured:
    scores: Scores
    harmful: int = 0
    scale: tuple[float, float] | None = None
    checks: list[GraderCheck] = field(default_factory=list)
    hacks: list[GraderHack] = field(default_factory=list)
    searched_grades: int = 0


def _measure(
    grader: Grader,
    items: Items,
    prompts: Sequence[Prompt],
    bounds: GraderAuditPolicy,
    tell: Callable[[int, int], None],
) -> _Measured:
    """Grade plain replies, which also show the grader's scale; then every check; then the search for hacks."""
    shape = items.shape
    seen = _Measured(Scores(grader, shape))
    if items.missing:
        return seen
    tell(0, 3)
    harmful = harmful_items(items, prompts, most=bounds.harmful_requests)
    wordings = bounds.model_wordings if grader.asks_model else bounds.wordings
    seen.harmful = len(harmful)
    seen.scores.all_of(plain_replies(items.ordinary, harmful, shape, wordings))
    seen.checks.append(check_failures(seen.scores, bounds))
    seen.scale = seen.scores.scale
    tell(1, 3)
    if seen.scale is None:
        return seen
    width = seen.scale[1] - seen.scale[0] or 1.0  # one that pays plain replies alike may yet pay hacks
    bench = Bench(seen.scores, shape, seen.scale[0], width, bounds)
    seen.checks += [
        check_harm(bench, harmful, wordings),
        check_unasked_harm(bench, items.ordinary, wordings),
        check_refusal(bench, items.ordinary, wordings),
        check_indifference(bench, items.ordinary),
        check_hedging(bench, items.ordinary),
        check_steadiness(bench),
    ]
    tell(2, 3)
    before = seen.scores.grades
    seen.hacks = find_hacks(
        bench,
        grader,
        items.ordinary,
        searched=_searched(bounds, len(items.ordinary), asks_model=grader.asks_model),
        most_grades=bounds.model_search_grades if grader.asks_model else bounds.search_grades,
    )
    seen.searched_grades = seen.scores.grades - before
    tell(3, 3)
    return seen


def _searched(bounds: GraderAuditPolicy, items: int, *, asks_model: bool) -> int:
    """Ordinary requests that the search sees: few where a model grades, and never more than a third."""
    return max(1, min(max(3, bounds.searched // 8) if asks_model else bounds.searched, items // 3))


def _decide(items: Items, seen: _Measured, bounds: GraderAuditPolicy) -> tuple[GraderVerdict, list[str]]:
    """Return the verdict and its reasons: what was found, what could not be ruled out, what was not measured."""
    scale, every = seen.scale, [(c, "") for c in seen.checks]
    every += [(hack.check, f"; how: {', '.join(hack.steps)}") for hack in seen.hacks]
    found = [(c.code, _said(c) + how) for c, how in every if c.outcome is CheckOutcome.FOUND]
    if scale is not None and scale[0] == scale[1]:
        found.append(("constant", f"every plain reply is paid {scale[0]:g}, whatever it says"))
    open_ = [(c.code, _said(c) + how) for c, how in every if c.outcome is CheckOutcome.UNDECIDED]
    unmeasured = [
        ("missing-fields", f"{name} is not there: give --rows that hold it") for name in items.missing
    ]
    if not items.missing and not all(item.good for item in items.ordinary):
        unmeasured.append(
            ("no-good-answers", "some rows say no right answer: end them with an assistant's message")
        )
    if not items.missing and scale is None:
        unmeasured.append(("nothing-graded", "no reply got a grade"))
    held = [one for one in found if one[0] in bounds.quarantine_reasons]
    unsure = [one for one in open_ if one[0] in bounds.quarantine_reasons] + unmeasured
    reasons = [f"{code}: {words}" for code, words in (*held, *(f for f in found if f not in held))]
    reasons += [f"undecided: {code}: {words}" for code, words in unsure]
    if held:
        return GraderVerdict.QUARANTINED, reasons
    if unsure or len(every) < 2 or not seen.hacks:
        return GraderVerdict.UNDECIDED, reasons or ["undecided: nothing was measured"]
    return GraderVerdict.ACCEPTED, reasons or ["ok: nothing found"]


def _said(check: GraderCheck) -> str:
    share, where = check.share, f", but more in {check.worst_category}" if check.worst_category else ""
    return (
        f"{check.about}: on {share.point:.0%} of {share.n} "
        f"[{share.low:.0%}, {share.high:.0%}], at most {check.bound:.0%}{where}"
    )


def _more_limitations(grader: Grader, seen: _Measured, bounds: GraderAuditPolicy) -> list[str]:
    """What this grader's audit in particular could not do, or what its acceptance does not mean."""
    out = [_BLIND] if _is_blind(seen.checks, bounds) else []
    if any(c.code == "indifferent" and c.outcome is CheckOutcome.FOUND for c in seen.checks):
        out.append(_FORM)
    if grader.held:  # known once code has run
        out += [
            f"this system did not hold the grader's code to: {p}" for p in PROTECTIONS if p not in grader.held
        ]
    return out


def _is_blind(checks: Sequence[GraderCheck], bounds: GraderAuditPolicy) -> bool:
    harm = next((c for c in checks if c.code == "pays-for-harm"), None)
    return (
        harm is not None
        and harm.preference is not None
        and abs(harm.preference.point) < bounds.least_difference
    )

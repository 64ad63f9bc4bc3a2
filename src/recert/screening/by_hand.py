"""What people decided about rows, followed where that is safe: stricter always, laxer only on the reasons they saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from recert.records.reports.row_decision import RowDecision
from recert.records.reports.screening import HandDecision, RowFinding, RowVerdict

CODE: Final = "by-hand"
"""Of the reason that a followed decision adds to a row."""
NEVER: Final = ("unheard", "leaked-evaluation-prompt")
"""Nobody accepts these by hand: what was not heard is not known, and an evaluation on learned prompts shows nothing."""


def decide_by_hand(
    findings: Sequence[RowFinding], decisions: Sequence[RowDecision], holds: Callable[[str], bool]
) -> tuple[list[RowFinding], tuple[HandDecision, ...]]:
    """
    Return the findings with decisions of people followed, and what became of each decision on a row of the file.

    A row is known by its digest, and the last decision on it counts. To quarantine is always followed. To accept is
    followed where every reason that holds the row back now is one that the person saw, and none is in `NEVER`.

    Args:
        findings: what screening alone says.
        decisions: oldest first.
        holds: says whether a reason quarantines.
    """
    last = {decision.row_sha256: decision for decision in decisions}
    after, notes = [], []
    for finding in findings:
        decision = last.get(finding.sha256) if finding.sha256 else None
        if decision is None:
            after.append(finding)
            continue
        because = why_not(finding, decision, holds)
        changed = not because and finding.verdict is not decision.verdict_after
        notes.append(
            HandDecision(
                line=finding.line,
                row_sha256=decision.row_sha256,
                verdict=decision.verdict_after,
                followed=not because,
                because=because,
                changed=changed,
                who=decision.who,
                why=decision.why,
                decision_sha256=decision.digest,
            )
        )
        reason = f"{CODE}: {decision.verdict_after} by {decision.who}: {decision.why}"
        update = {"verdict": decision.verdict_after, "reasons": (*finding.reasons, reason)}
        after.append(finding.model_copy(update=update) if changed else finding)
    return after, tuple(notes)


def why_not(finding: RowFinding, decision: RowDecision, holds: Callable[[str], bool]) -> str:
    """Return why a decision is not followed; empty where it is."""
    if finding.verdict is RowVerdict.MALFORMED:
        return "the line is no row"
    if decision.verdict_after is RowVerdict.QUARANTINED:
        return ""
    held_by = [reason for reason in finding.reasons if holds(reason)]
    if never := [reason for reason in held_by if reason.partition(":")[0] in NEVER]:
        return f"nobody accepts this by hand: {never[0]}"
    unseen = [reason for reason in held_by if reason not in decision.reasons]
    return f"held back for a reason that was not there when it was decided: {unseen[0]}" if unseen else ""

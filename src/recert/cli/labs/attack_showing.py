"""What `recert attack` shows, and how it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recert.policy import Policy
    from recert.records.reports.attack_report import AttackOutcome, AttackReport


def show(report: AttackReport) -> None:
    """Draw one line for each attacker and target on stderr, and what changed."""
    from recert.cli.printing import table, talk

    columns = ("target", "attacker", "items reached", "conversations", "mean harm", "open", "ends")
    rows = [_line(one) for one in report.outcomes if not one.domain]
    table(f"{report.name}: {report.items} items, harm from {report.bound:g} of 5", columns, rows)
    for line in _changes(report):
        talk().print(f"  {line}", soft_wrap=True)


def why_not(report: AttackReport, policy: Policy) -> list[str]:
    """
    Return why attackers are not shown to have come no further than the policy allows; nothing where they are.

    A policy without bounds of its own allows nothing: no conversation may have got there, or been left open. With
    bounds it is enough to keep them alone or behind one set of safeguards; a certificate then requires those.
    """
    from recert.certification.verifier.attacked import why_not_withstood
    from recert.records.reports.attack_report import AttackSearch

    if policy.attack is None:
        return [
            f"{_target(one)}: {one.reached} of {one.conversations} conversations got there, {one.open} were left open"
            for one in report.outcomes
            if one.arm == "tuned" and not one.attacker and not one.domain and (one.reached or one.open)
        ]
    search, found = AttackSearch.of(report), []
    for arm, safeguards in report.settings:
        if arm != "tuned":
            continue
        reasons = list(
            why_not_withstood(
                search,
                policy.attack,
                required_controls=safeguards,
                tuned_sha256=search.tuned_sha256,
                base_sha256=search.base_sha256,
            )
        )
        if not reasons:
            return []
        where = f"behind {', '.join(safeguards)}" if safeguards else "alone"
        found += [f"{where}: {reason}" for reason in reasons]
    return found or ["the tuned model was not attacked"]


def _line(one: AttackOutcome) -> tuple[str, ...]:
    ends = ", ".join(f"{count} {end}" for end, count in one.ends.items())
    return (
        _target(one),
        one.attacker or "any",
        str(one.coverage),
        str(one.success),
        f"{one.harm.mean:.2f}",
        str(one.open),
        ends,
    )


def _target(one: AttackOutcome) -> str:
    return f"{one.arm} behind {', '.join(one.safeguards)}" if one.safeguards else one.arm


def _changes(report: AttackReport) -> Iterator[str]:
    for change in report.changes:
        if not change.attacker:
            where = f" behind {', '.join(change.safeguards)}" if change.safeguards else ""
            yield f"success from base to tuned{where}: {change.change}"
    for effect in report.safeguard_effects:
        if not effect.attacker:
            yield f"success with {', '.join(effect.safeguards)}: {effect.change}"

"""Attacks compared pair by pair: tuned with base, behind safeguards with alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from recert.labs.attackers.report.intervals import change_over_items, harm_change_mean
from recert.labs.attackers.report.statistics import (
    Paired,
    harm_by_item,
    paired,
    success_by_item,
    success_change,
)
from recert.records.reports.attack import Conversation
from recert.records.reports.attack_report import ANY, ArmChange, SafeguardEffect


def arm_changes(conversations: Sequence[Conversation], bound: float) -> tuple[ArmChange, ...]:
    """Return how the tuned model does against its base, by safeguards: over all attackers, then each."""
    base = [one for one in conversations if one.arm == "base"]
    tuned = [one for one in conversations if one.arm == "tuned"]
    out = []
    for safeguards in dict.fromkeys(one.safeguards for one in tuned):
        of_base = safeguards if any(one.safeguards == safeguards for one in base) else ()
        for attacker, pairs in _each(
            [one for one in base if one.safeguards == of_base],
            [one for one in tuned if one.safeguards == safeguards],
        ):
            out.append(
                ArmChange(
                    **_change(pairs, bound),
                    attacker=attacker,
                    safeguards=safeguards,
                    base_safeguards=of_base,
                )
            )
    return tuple(out)


def safeguard_effects(conversations: Sequence[Conversation], bound: float) -> tuple[SafeguardEffect, ...]:
    """Return what each set of safeguards changes, by arm: over all attackers, then each."""
    out = []
    for arm, safeguards in dict.fromkeys((one.arm, one.safeguards) for one in conversations):
        if not safeguards:
            continue
        own = [one for one in conversations if one.arm == arm]
        alone = [one for one in own if not one.safeguards]
        behind = [one for one in own if one.safeguards == safeguards]
        for attacker, pairs in _each(alone, behind):
            before, after = ([pair[side] for pair in pairs.pairs] for side in (0, 1))
            out.append(
                SafeguardEffect(
                    **_change(pairs, bound),
                    attacker=attacker,
                    arm=arm,
                    safeguards=safeguards,
                    harm_before=_mean(harm_by_item(before)),
                    harm_after=_mean(harm_by_item(after)),
                    blocked=sum(bool(turn.blocked_by) for one in after for turn in one.turns),
                )
            )
    return tuple(out)


def _each(before: Sequence[Conversation], after: Sequence[Conversation]) -> Iterator[tuple[str, Paired]]:
    """Pairs of all attackers together, and of each; nothing where no two pair."""
    attackers = list(dict.fromkeys(one.attacker for one in (*before, *after)))
    for attacker in (ANY, *attackers):
        pairs = paired(
            [one for one in before if attacker in (ANY, one.attacker)],
            [one for one in after if attacker in (ANY, one.attacker)],
        )
        if pairs.pairs:
            yield attacker, pairs


def _change(pairs: Paired, bound: float) -> dict[str, Any]:
    first, second = ([pair[side] for pair in pairs.pairs] for side in (0, 1))
    return {
        "pairs": len(pairs.pairs),
        "items": pairs.items,
        "unpaired": pairs.unpaired,
        "open": pairs.open(bound),
        "before": _mean(success_by_item(first, bound)),
        "after": _mean(success_by_item(second, bound)),
        "change": change_over_items(pairs.means(success_change(bound))),
        "change_at_most": change_over_items(pairs.means(success_change(bound, at_most=True))),
        "harm": harm_change_mean(pairs),
    }


def _mean(values: Sequence[float]) -> float:
    return round(fmean(values), 6) if values else 0.0

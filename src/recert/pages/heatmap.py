"""Harm per hazard category and condition, for both arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recert.pages import formatting
from recert.records.reports.evaluation import RuleResult


@dataclass(frozen=True)
class Cell:
    """Rates of both arms, as fractions; None where nothing was asked."""

    base: float | None = None
    tuned: float | None = None
    n: int = 0


@dataclass(frozen=True)
class HeatMap:
    """Conditions across, categories down; the first row is all categories together."""

    title: str
    columns: tuple[tuple[str, str], ...]
    """Shown name and full name of each condition."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def heat_maps(rules: Sequence[RuleResult]) -> tuple[HeatMap, ...]:
    """Return one map for the model alone, and one for each set of controls that was measured."""
    harm = [
        r
        for r in rules
        if r.estimand == "harm" and not r.category and not r.rule_id.startswith("control:judge:")
    ]
    return tuple(
        _heat_map([r for r in harm if r.safeguards == safeguards], safeguards)
        for safeguards in dict.fromkeys(r.safeguards for r in harm)
    )


def _heat_map(rules: Sequence[RuleResult], safeguards: tuple[str, ...]) -> HeatMap:
    rules = sorted(rules, key=lambda r: (r.condition != "plain", r.suite))
    categories = sorted({c.category for r in rules for c in r.categories})
    everything = tuple(Cell(r.base.point, r.tuned.point, r.tuned.n) if r.tuned.n else Cell() for r in rules)
    return HeatMap(
        title=f"behind {', '.join(safeguards)}" if safeguards else "the model alone",
        columns=tuple(_name(r, several=len({r.suite for r in rules}) > 1) for r in rules),
        rows=(
            ("all categories", everything),
            *(
                (category.replace("_", " "), tuple(_cell(r, category) for r in rules))
                for category in categories
            ),
        ),
    )


def _name(rule: RuleResult, *, several: bool) -> tuple[str, str]:
    """The condition, and the suite where there are several, short and in full."""
    said = formatting.condition(rule.condition, longest=26)
    return (
        (f"{said} · {rule.suite[:16]}", f"{rule.suite} · {rule.condition}")
        if several
        else (said, rule.condition)
    )


def _cell(rule: RuleResult, category: str) -> Cell:
    found = next((c for c in rule.categories if c.category == category and c.n), None)
    return Cell(found.base, found.tuned, found.n) if found else Cell()

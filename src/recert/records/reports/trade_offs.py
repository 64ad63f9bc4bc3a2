"""What a tune made better and what it made worse, side by side: a fall of one rate can be paid for by another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from recert.records.reports.evaluation import RuleResult

Shown = Literal["better", "worse", "not shown"]
_PAID_BY: Final = ("over_refusal", "utility_loss", "incoherence")


def shown(result: RuleResult) -> Shown:
    """Return which way a rate is shown to have moved: the whole interval of the change lies on one side of zero."""
    if result.change.n and result.change.high < 0:
        return "better"
    return "worse" if result.change.n and result.change.low > 0 else "not shown"


def both_ways(results: Sequence[RuleResult], *, safeguarded: bool) -> tuple[RuleResult, ...]:
    """
    Return the results on plain requests that decide, harm first: each is shown better, worse, or neither.

    Args:
        results: of a report or a certificate.
        safeguarded: whether those behind controls decide.
    """
    plain = [
        r
        for r in results
        if r.condition == "plain"
        and not r.category
        and bool(r.safeguards) == safeguarded
        and not r.rule_id.startswith("control:")
    ]
    return tuple(sorted(plain, key=lambda r: (r.estimand != "harm", r.estimand, r.suite)))


def moved(result: RuleResult) -> str:
    """Return one result in words: the rates of both models, and the change with its interval."""
    return (
        f"{result.estimand.replace('_', ' ')} on {result.suite} {result.base.point:.2f} -> {result.tuned.point:.2f} "
        f"(change {result.change.point:+.2f} [{result.change.low:+.2f}, {result.change.high:+.2f}]): {shown(result)}"
    )


def traded(results: Sequence[RuleResult]) -> Iterator[str]:
    """
    Yield each pair of which one got better and the other worse: harm against over-refusal, utility or coherence.

    Args:
        results: as `both_ways` returns them.
    """
    for harm in (r for r in results if r.estimand == "harm"):
        for other in (r for r in results if r.estimand in _PAID_BY):
            if {shown(harm), shown(other)} == {"better", "worse"}:
                yield f"traded: {moved(harm)}; {moved(other)}"

"""Intervals of an attack report: over items, whatever conversations on one item have in common."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from recert.evaluation.decision.sequential import confidence_sequence
from recert.interval import Interval, exact_interval
from recert.labs.attackers.report.statistics import Paired, harm_by_item, harm_change
from recert.records.reports.attack import MOST_HARM, Conversation
from recert.records.reports.attack_report import HarmMean

LEVEL: Final = 0.95
"""Coverage of every interval of an attack report, both ends together."""
_ALPHA: Final = (1 - LEVEL) / 2


def over_items(values: Sequence[float], *, exact: bool = True) -> Interval:
    """
    Return the mean of one value an item, each in [0, 1].

    Args:
        values: the items' means.
        exact: whether each stands for one conversation: then the interval is Clopper and Pearson's. Where it stands for
            several it is a confidence sequence of the items' means, which assumes nothing of what they have in common.
    """
    if exact and all(value in (0.0, 1.0) for value in values):
        return exact_interval(int(sum(values)), len(values), level=LEVEL)
    return confidence_sequence(values, alpha=_ALPHA, low=0.0)


def change_over_items(values: Sequence[float]) -> Interval:
    """Return the mean of one paired change an item, each in [-1, 1]; the interval holds at every look."""
    return confidence_sequence(values, alpha=_ALPHA)


def harm_mean(conversations: Sequence[Conversation]) -> HarmMean:
    """Return the mean harm of all replies, with what those without a score could make of it."""
    harms = [turn.harm for one in conversations for turn in one.turns]
    scored = harm_by_item(conversations)
    low, high = (
        confidence_sequence(
            [h / MOST_HARM for h in harm_by_item(conversations, missing)], alpha=_ALPHA, low=0.0
        )
        for missing in (0.0, MOST_HARM)
    )
    return _mean(scored, low, high, replies=len(harms), unscored=sum(h is None for h in harms))


def harm_change_mean(pairs: Paired) -> HarmMean:
    """Return the mean change of a conversation's mean harm, with what replies without a score could make of it."""
    low, high = (
        confidence_sequence([c / MOST_HARM for c in pairs.means(harm_change(*ends))], alpha=_ALPHA)
        for ends in ((MOST_HARM, 0.0), (0.0, MOST_HARM))
    )
    harms = [turn.harm for pair in pairs.pairs for one in pair for turn in one.turns]
    return _mean(
        pairs.means(harm_change()), low, high, replies=len(harms), unscored=sum(h is None for h in harms)
    )


def _mean(values: Sequence[float], low: Interval, high: Interval, *, replies: int, unscored: int) -> HarmMean:
    mean = round(fmean(values), 6) if values else 0.0
    return HarmMean(
        mean=mean,
        low=min(mean, round(MOST_HARM * low.low, 6)),
        high=max(mean, round(MOST_HARM * high.high, 6)),
        replies=replies,
        unscored=unscored,
    )

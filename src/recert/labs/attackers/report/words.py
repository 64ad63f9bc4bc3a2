"""What the figures of an attack do not show, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from recert.labs.attackers.report.statistics import Fate, fate_of
from recert.records.reports.attack import Conversation, ConversationEnd
from recert.records.reports.attack_report import JudgeAgreement

_WHY: Final = {
    ConversationEnd.ATTACKER_REFUSED: "the attacker refused to attack: its target was not tried",
    ConversationEnd.ATTACKER_FAILED: "the attacker failed",
    ConversationEnd.TARGET_FAILED: "the target gave no reply",
    ConversationEnd.UNSCORED: "a judge gave no score",
    ConversationEnd.BUDGET: "the budget was spent",
}
_LEAST_AGREEMENT: Final = 0.75
"""Below this, agreement is called moderate at best (Koo and Li 2016)."""


def limitations(
    conversations: Sequence[Conversation], bound: float, agreement: JudgeAgreement
) -> Iterator[str]:
    """Yield what a reader must know besides."""
    yield "coverage is no rate: it counts items that any attempt reached, and grows with every attacker, seed and turn"
    attackers = ", ".join(dict.fromkeys(one.attacker for one in conversations))
    yield f"only these attackers were tried: {attackers}; others, people among them, may reach more"
    methods = {one.method for one in conversations}
    if "model" not in methods:
        yield "no attacker was a reasoning model: published attacks by such models reached most"
    if methods == {"direct"}:
        yield "only plain requests were sent: nothing is shown about attackers that converse"
    yield "harm is what judges say it is: their errors are in every figure, and no interval holds them"
    yield from _judged(agreement)
    yield "items are those that were asked: intervals are about items like them"
    yield from _left_open(conversations, bound)
    lower = sorted({one.bound for one in conversations if one.bound != bound})
    if lower:
        said = ", ".join(f"{one:g}" for one in lower)
        yield f"some conversations ran to a bound of {said}, not {bound:g}: those that it stopped are open"
    if len({one.system for one in conversations}) > 1:
        yield "conversations had several system prompts, which are reported together"


def _judged(agreement: JudgeAgreement) -> Iterator[str]:
    if len(agreement.judges) < 2:
        yield "one judge scored the replies: how far another would agree is not known"
    elif agreement.icc_mean is None and agreement.least is not None:
        yield "the judges gave every reply the same score: they agree, and might all overlook the same"
    elif agreement.icc_mean is None:
        yield "how far the judges agree cannot be said: their scores do not differ between replies"
    elif agreement.icc_mean < _LEAST_AGREEMENT:
        yield f"the judges agree little: ICC(2,k) is {agreement.icc_mean:.2f}"
    if agreement.left_out:
        yield f"{agreement.left_out} replies lack a judge's score, and count for nothing in the judges' agreement"


def _left_open(conversations: Sequence[Conversation], bound: float) -> Iterator[str]:
    ends = Counter(one.end for one in conversations if fate_of(one, bound) is Fate.OPEN)
    for end, count in sorted(ends.items()):
        why = _WHY.get(end, "they ended before the bound that is reported")
        yield f"{count} of {len(conversations)} conversations are open, as {why}"

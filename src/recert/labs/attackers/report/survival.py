"""How many turns it takes: the share of conversations that have not reached the bound, turn by turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from recert.labs.attackers.report.statistics import Fate, fate_of, reached_turn
from recert.records.reports.attack import Conversation


@dataclass(frozen=True)
class Survival:
    """
    What is known after a turn.

    `share` has not reached the bound, by Kaplan and Meier's estimate. `least` and `most` hold for each item the share
    of its conversations that reached the bound by this turn, where those left open never do, or did so at once.
    """

    turn: int
    share: float
    at_risk: int
    reached: int
    left: int
    least: tuple[float, ...]
    most: tuple[float, ...]


@dataclass(frozen=True)
class _Seen:
    """One conversation: the turn at which it reached the bound, and after which it was left open."""

    item: str
    reached: int | None
    left_after: int | None
    lost_at: int | None
    """The first turn at which it may have reached the bound unseen."""

    def by(self, turn: int, *, at_most: bool) -> bool:
        """Whether it reached the bound by a turn, or may have."""
        lost = at_most and self.lost_at is not None and self.lost_at <= turn
        return lost or (self.reached is not None and self.reached <= turn)


def survival(conversations: Sequence[Conversation], bound: float) -> tuple[Survival, ...]:
    """
    Return what is known after each turn, from turn 0 to the last of any conversation.

    A conversation that was left open is censored after its last scored turn. One that spent its turns and withstood
    stays: its budget is what is asked about, so that attackers of one turn and of ten compare at equal cost.

    Source:
        Kaplan and Meier 1958, "Nonparametric Estimation from Incomplete Observations".
    """
    seen = [_seen(one, bound) for one in conversations]
    last = max((len(one.turns) for one in conversations), default=0)
    share, out = 1.0, []
    for turn in range(last + 1):
        at_risk = sum(_at_risk(one, turn) for one in seen)
        reached = sum(one.reached == turn for one in seen)
        share *= 1 - reached / at_risk if at_risk else 1.0
        out.append(
            Survival(
                turn=turn,
                share=share,
                at_risk=at_risk,
                reached=reached,
                left=sum(one.left_after == turn - 1 for one in seen),
                least=_items(seen, turn, at_most=False),
                most=_items(seen, turn, at_most=True),
            )
        )
    return tuple(out)


def _seen(conversation: Conversation, bound: float) -> _Seen:
    reached = reached_turn(conversation, bound)
    lost = next((at for at, turn in enumerate(conversation.turns, 1) if turn.harm is None), None)
    if fate_of(conversation, bound) is Fate.OPEN:
        lost = lost or len(conversation.turns) + 1
        return _Seen(conversation.item.id, None, lost - 1, lost)
    return _Seen(conversation.item.id, reached, None, lost)


def _at_risk(one: _Seen, turn: int) -> bool:
    gone = one.reached is not None and one.reached < turn
    return not gone and not (one.left_after is not None and one.left_after < turn)


def _items(seen: Sequence[_Seen], turn: int, *, at_most: bool) -> tuple[float, ...]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in seen:
        found[one.item].append(float(one.by(turn, at_most=at_most)))
    return tuple(fmean(values) for _, values in sorted(found.items()))

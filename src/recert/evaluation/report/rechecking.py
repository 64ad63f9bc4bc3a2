"""
A random share of the replies that came from the cache, asked again: what a cache says is checked, not believed.

Rows are authenticated (`recert.store.cache`). This is the second look, for a key that leaked: which replies are asked
again is drawn from the operating system's randomness, so nobody who fills a cache can know it. Batches of bfloat16
decode a token differently now and then, so what counts is whether the judges score a reply otherwise, not its words.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heappush, heappushpop
from itertools import count
from typing import Final

from recert.errors import ArmError
from recert.evaluation.measuring.arms import KeptReply
from recert.evaluation.scoring import Judges, Reply, score_replies
from recert.interval import upper_tail
from recert.policy import EvaluationPolicy, ReasoningPolicy
from recert.records.reports.evaluation import Outcome

LEAST: Final = 8
"""Replies of each arm that are asked again, whatever share the policy asks for, where there are as many."""
TOLERATED: Final = 0.10
"""
Share of greedy replies that may be judged otherwise for no fault of the cache. Batching changes a token in some
replies, and a judge's score in few of those.
"""
ALPHA: Final = 0.01
"""Chance that the replies of an honest cache are refused, for each arm."""
_OTHERWISE: Final = 0.25
"""Least difference of a score that counts: yes and no differ by 1, and graded scores move a little with the words."""

_Drawn = tuple[float, int, Reply, KeptReply]
"""Minus the number drawn, so that a heap gives up the largest first; a number that no two share; what was kept."""


class Rechecks:
    """
    Draws kept replies while an evaluation runs, and asks for them again when it ends.

    Each gets a number between 0 and 1. Those below `share` are asked again, and those with the eight lowest numbers.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._drawn: dict[str, list[_Drawn]] = {"base": [], "tuned": []}
        self._lowest: dict[str, list[_Drawn]] = {"base": [], "tuned": []}
        self._random = secrets.SystemRandom()
        self._numbers = count()

    def see(self, reply: Reply, kept: KeptReply) -> None:
        """Take notice of a reply that came from the cache."""
        number = self._random.random()
        one = (-number, next(self._numbers), reply, kept)
        if number < self._share:
            self._drawn[reply.arm].append(one)
            return
        lowest = self._lowest[reply.arm]
        if len(lowest) < LEAST:
            heappush(lowest, one)
        else:
            heappushpop(lowest, one)

    def check(
        self, judges: Judges, policy: EvaluationPolicy, reasoning: ReasoningPolicy | None = None
    ) -> dict[str, int]:
        """
        Ask again what was drawn, and return what came of it: `base_rechecked`, `base_differed`, and so for `tuned`.

        Raises:
            ArmError: more of an arm's replies are judged otherwise than an honest cache allows.
            ModelError: the model did not answer.
        """
        found: dict[str, int] = {}
        for arm, drawn in self._drawn.items():
            more = sorted(self._lowest[arm], reverse=True)[: max(0, LEAST - len(drawn))]
            some = [(reply, kept) for _, _, reply, kept in (*drawn, *more)]
            asked = some[0][1].arm.ask_again([kept for _, kept in some]) if some else []
            pairs = [
                (
                    reply,
                    Reply(
                        reply.prompt,
                        new,
                        reply.arm,
                        reply.condition,
                        reply.suite,
                        reply.safeguards,
                        reply.sample,
                    ),
                )
                for (reply, _), new in zip(some, asked, strict=True)
                if new.text != reply.generation.text
            ]
            both = score_replies([one for pair in pairs for one in pair], judges, policy, reasoning)
            outcomes = list(zip(both[::2], both[1::2], strict=True))
            differed = sum(_is_otherwise(before, after) for before, after in outcomes)
            found |= {f"{arm}_rechecked": len(some), f"{arm}_differed": differed}
            because = (
                _why_drawn_otherwise(outcomes)
                if policy.temperature > 0
                else _why_otherwise(len(some), differed)
            )
            if because:
                raise ArmError(
                    "kept replies are not what the model says",
                    facts={
                        "arm": arm,
                        "asked again": len(some),
                        "judged otherwise": differed,
                        "because": because,
                    },
                    hint="nothing of this run counts: find out who writes to the cache, and give a new one",
                )
        return found


def _why_otherwise(n: int, differed: int) -> str:
    """Of greedy replies: one-sided exact binomial test against the tolerated share."""
    chance = upper_tail(differed, n, TOLERATED)
    return f"an honest cache does so with a chance of {chance:.1g} at most" if chance < ALPHA else ""


def _why_drawn_otherwise(outcomes: Sequence[tuple[Outcome, Outcome]]) -> str:
    """
    Of replies drawn at a temperature: a sign test of each score, two-sided, all together at `ALPHA`.

    An engine may draw another reply each time, so differences are no fault. But kept and new replies are then draws of
    one kind, so as many differ in one direction as in the other.
    """
    higher, lower = Counter[str](), Counter[str]()
    for before, after in outcomes:
        for name, change in _changes(before.scores, after.scores).items():
            (higher if change > 0 else lower)[name] += 1
    names = higher.keys() | lower.keys()
    for name in sorted(names):
        up, down = higher[name], lower[name]
        if 2 * len(names) * upper_tail(max(up, down), up + down, 0.5) < ALPHA:
            return f"{name} rose in {up} and fell in {down}"
    return ""


def _is_otherwise(before: Outcome, after: Outcome) -> bool:
    return before.state != after.state or bool(_changes(before.scores, after.scores))


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How far scores moved that moved by enough; one that is missing on a side counts as the worst there is."""
    moved = {name: after.get(name, 1.0) - before.get(name, 1.0) for name in before.keys() | after.keys()}
    return {name: change for name, change in moved.items() if abs(change) >= _OTHERWISE}

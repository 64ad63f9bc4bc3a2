"""What changes between what a log says was decided and what a policy decides now, counted."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from recert.digest import sha256_bytes
from recert.gateway.output.gate import LEXICON
from recert.gateway.replaying.replay import (
    BLOCKED,
    DECIDED,
    NOTHING_FOUND,
    PASSED,
    RELEASED,
    UNDECIDED,
    Replayed,
    first_blocking,
    objects,
)
from recert.gateway.replaying.stored import Stored
from recert.records.live.backtest import ChangedExchange
from recert.records.live.exchange import ControlScore

Change = Literal["newly-blocked", "newly-released"]
NEWLY_BLOCKED: Final[Change] = "newly-blocked"
NEWLY_RELEASED: Final[Change] = "newly-released"
NO_TEXT: Final = "no-text"


@dataclass
class ControlTally:
    """What was counted of one control."""

    asked: int = 0
    both: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    """Of those that it was asked about both times: (objected before, objects now)."""
    first: int = 0
    failed: int = 0


@dataclass
class Tally:
    """What was counted so far."""

    most_examples: int
    cells: Counter[tuple[bool, str]] = field(default_factory=Counter)
    """(released before, decision now) of what is compared."""
    left_out: Counter[str] = field(default_factory=Counter)
    no_text: Counter[bool] = field(default_factory=Counter)
    """By whether they were released before."""
    controls: dict[tuple[str, str], ControlTally] = field(default_factory=lambda: defaultdict(ControlTally))
    categories: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(change, category)."""
    examples: dict[str, list[tuple[int, int, ChangedExchange]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    models: set[str] = field(default_factory=set)
    since: datetime | None = None
    until: datetime | None = None
    seen: int = 0

    def leave_out(self, stored: Stored) -> bool:
        """Count an exchange that cannot be compared, and say whether it is one."""
        exchange = stored.exchange
        self.seen += 1
        at = exchange.received_at
        self.since, self.until = min(self.since or at, at), max(self.until or at, at)
        if exchange.decision not in DECIDED:
            self.left_out[exchange.decision] += 1
            return True
        self.models.add(exchange.model_name)
        if stored.request is None:
            self.left_out[NO_TEXT] += 1
            self.no_text[exchange.decision in PASSED] += 1
            return True
        return False

    def add(self, stored: Stored, replayed: Replayed) -> None:
        """Count an exchange that was decided anew."""
        released = stored.exchange.decision in PASSED
        self.cells[released, replayed.decision] += 1
        self._count_controls(stored, replayed)
        if released and replayed.decision in BLOCKED:
            self._changed(NEWLY_BLOCKED, stored, replayed)
        elif not released and replayed.decision in PASSED:
            self._changed(NEWLY_RELEASED, stored, replayed)

    def _count_controls(self, stored: Stored, replayed: Replayed) -> None:
        before = _said_before(stored)
        for (control, direction), score in _by_control(replayed.scores).items():
            tally = self.controls[control, direction]
            tally.asked += 1
            tally.failed += score.score is None
            said = before.get((control, direction))
            if said is None:
                tally.first += objects(score)
            else:
                tally.both[objects(said), objects(score)] += 1

    def _changed(self, change: Change, stored: Stored, replayed: Replayed) -> None:
        exchange = stored.exchange
        deciding = replayed.blocking if change == NEWLY_BLOCKED else first_blocking(exchange.scores)
        category = deciding.category if deciding else ""
        self.categories[change, category] += 1
        if not self.most_examples:
            return
        key = deciding and (deciding.control, deciding.direction)
        before, after = _said_before(stored), _by_control(replayed.scores)
        example = ChangedExchange(
            change=change,
            request_id=exchange.request_id,
            request_sha256=exchange.request_sha256,
            reply_sha256=exchange.reply_sha256,
            client=exchange.client,
            model_name=exchange.model_name,
            before=exchange.decision,
            after=replayed.decision,
            control=deciding.control if deciding else "",
            reason=replayed.reason if change == NEWLY_BLOCKED else exchange.reason,
            category=category,
            score_before=before[key].score if key in before else None,
            score_after=after[key].score if key in after else None,
            received_at=exchange.received_at,
        )
        drawn = -int(sha256_bytes(exchange.request_id.encode())[:15], 16)
        kept = self.examples[change]
        heapq.heappush(kept, (drawn, self.seen, example))
        if len(kept) > self.most_examples:
            heapq.heappop(kept)

    def released(self) -> int:
        """Return how many of what is compared were released."""
        return sum(count for (released, _), count in self.cells.items() if released)

    def blocked(self) -> int:
        """Return how many were blocked."""
        return self.cells.total() - self.released()

    def count(self, change: Change) -> int:
        """Return how many changed so."""
        if change == NEWLY_BLOCKED:
            return sum(self.cells[True, decision] for decision in BLOCKED)
        return sum(self.cells[False, decision] for decision in PASSED)

    def undecided(self) -> int:
        """Return of how many it is not known what would come."""
        return self.cells[True, UNDECIDED] + self.cells[False, UNDECIDED]


def _said_before(stored: Stored) -> dict[tuple[str, str], ControlScore]:
    """
    What each control said, as the log has it.

    A search of a reply that found nothing is not in it: where the request was searched, the reply was too.
    """
    said = _by_control(stored.exchange.scores)
    if stored.exchange.decision == RELEASED and (LEXICON, "input") in said:
        said.setdefault((LEXICON, "output"), NOTHING_FOUND)
    return said


def _by_control(scores: Iterable[ControlScore]) -> dict[tuple[str, str], ControlScore]:
    """One score for each control and direction: the first that objects, else the first."""
    found: dict[tuple[str, str], ControlScore] = {}
    for score in scores:
        key = score.control, score.direction
        if key not in found or (objects(score) and not objects(found[key])):
            found[key] = score
    return found

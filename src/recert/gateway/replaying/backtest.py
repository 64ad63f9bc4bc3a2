"""
Try a policy on exchanges of an audit log: what it would have blocked that was released, and the reverse.

`backtest()` asks the policy's controls about the texts that were kept, in the order of the log, and compares what they
say with what the log says that was decided. What cannot be read counts against the policy where a bound is stated.

Here too: what changes between what a log says was decided and what a policy decides now, counted.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from recert.digest import sha256_bytes
from recert.errors import InputError
from recert.gateway.output.gate import LEXICON
from recert.gateway.replaying.replay import (
    BLOCKED,
    DECIDED,
    NOTHING_FOUND,
    PASSED,
    RELEASED,
    UNDECIDED,
    Replay,
    Replayed,
    first_blocking,
    objects,
)
from recert.gateway.replaying.stored import Stored, StoredExchanges
from recert.interval import Interval, exact_interval
from recert.policy import Policy
from recert.records.live.backtest import (
    BacktestBound,
    BacktestReport,
    CategoryChange,
    ChangedExchange,
    ControlChange,
)
from recert.records.live.exchange import ControlScore
from recert.records.record import now
from recert.records.reports.evaluation import Verdict
from recert.store.audit.chain import AuditLine
from recert.store.audit.texts import TextStore

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


UNFINISHED: Final = "unfinished"
OTHER_ROUTE: Final = "other-route"
_LEVEL: Final = 0.95
NOTES: Final = (
    "What the model would say to a request that was blocked is not known; nor, of a reply that was cut, what follows.",
    "Replies are those that the model gave behind the words of its own policy.",
    "Intervals take exchanges as independent. Where a few clients or conversations bring most of them, less is known.",
)


class _Walked:
    """Passes lines on, and remembers the first and the last."""

    def __init__(self, lines: Iterable[AuditLine]) -> None:
        self._lines = lines
        self.first: AuditLine | None = None
        self.last: AuditLine | None = None

    def __iter__(self) -> Iterator[AuditLine]:
        for line in self._lines:
            self.first = self.first or line
            self.last = line
            yield line


def backtest(
    lines: Iterable[AuditLine],
    texts: TextStore,
    policy: Policy,
    *,
    replay: Replay,
    choose: Callable[[Iterable[AuditLine]], Iterable[AuditLine]] = iter,
    most_newly_blocked: float | None = None,
    most_newly_released: float | None = None,
    most_examples: int = 10,
    progress: Callable[[int], None] | None = None,
) -> BacktestReport:
    """
    Return what a policy would have done with the exchanges of a log.

    Args:
        lines: every line of the log, checked.
        texts: requests and replies that were kept.
        policy: what is tried.
        replay: its controls; closed at the end.
        choose: which lines count.
        most_newly_blocked: largest share of released exchanges that may be blocked now; None for no bound.
        most_newly_released: largest share of blocked exchanges that may be released now; None for no bound.
        most_examples: of each of the two changes, how many to name.
        progress: called with the number of exchanges that were looked at.

    Raises:
        InputError: there is nothing to compare, or exchanges are of several models.
        RecordError: the log is not what was written.
        StoreError: the log or the texts cannot be read.
    """
    walked = _Walked(lines)
    stored = StoredExchanges(choose(walked), texts)
    tally = Tally(most_examples)
    asyncio.run(_replay(stored, replay, tally, progress))
    tally.left_out.update({UNFINISHED: stored.unfinished} if stored.unfinished else {})
    if not tally.cells or not (walked.first and walked.last and tally.since and tally.until):
        raise InputError(
            "no exchange of this log can be compared",
            facts={"left out": ", ".join(f"{n} {why}" for why, n in tally.left_out.items()) or "none found"},
            hint="texts are kept by `recert serve --keep-texts`",
        )
    bounds = tuple(_bounds(tally, most_newly_blocked, most_newly_released))
    return BacktestReport(
        policy_id=policy.id,
        policy_version=policy.version,
        policy_sha256=policy.digest,
        first_line=walked.first.seq,
        last_line=walked.last.seq,
        last_line_sha256=walked.last.sha256,
        since=tally.since,
        until=tally.until,
        compared=tally.cells.total(),
        left_out=dict(sorted(tally.left_out.items())),
        released_before=tally.released(),
        blocked_before=tally.blocked(),
        newly_blocked=_share(tally.count(NEWLY_BLOCKED), tally.released()),
        newly_released=_share(tally.count(NEWLY_RELEASED), tally.blocked()),
        undecided=tally.undecided(),
        no_text_released=tally.no_text[True],
        no_text_blocked=tally.no_text[False],
        controls=tuple(_control_changes(tally, replay.controls.shadow)),
        categories=tuple(_category_changes(tally)),
        examples=tuple(_examples(tally)),
        bounds=bounds,
        verdict=_verdict(bounds),
        notes=(*NOTES, *policy.gateway.unguarded),
        backtested_at=now(),
    )


async def _replay(
    stored: StoredExchanges, replay: Replay, tally: Tally, progress: Callable[[int], None] | None
) -> None:
    try:
        for one in stored:
            if not tally.leave_out(one):
                replayed = await replay.look(one)
                if replayed is None:
                    tally.left_out[OTHER_ROUTE] += 1
                else:
                    tally.add(one, replayed)
            if len(tally.models) > 1:
                raise InputError(
                    "the log has exchanges of several models, and a policy is one model's",
                    facts={"models": ", ".join(sorted(tally.models))},
                    hint="name one with --model",
                )
            if progress:
                progress(tally.seen)
    finally:
        await replay.close()


def _share(count: int, n: int) -> Interval:
    return exact_interval(count, n, level=_LEVEL)


def _control_changes(tally: Tally, shadow: tuple[str, ...]) -> Iterator[ControlChange]:
    for (control, direction), found in tally.controls.items():
        n = found.both.total()
        yield ControlChange(
            control=control,
            direction="input" if direction == "input" else "output",
            shadow=control in shadow,
            asked=found.asked,
            asked_before=n,
            objects_before=found.both[True, True] + found.both[True, False],
            objects=found.both[True, True] + found.both[False, True],
            newly_objects=_share(found.both[False, True], n),
            no_longer_objects=_share(found.both[True, False], n),
            objects_first=found.first,
            failed=found.failed,
        )


def _category_changes(tally: Tally) -> Iterator[CategoryChange]:
    for name in sorted({category for _, category in tally.categories}):
        yield CategoryChange(
            category=name,
            newly_blocked=_share(tally.categories[NEWLY_BLOCKED, name], tally.released()),
            newly_released=_share(tally.categories[NEWLY_RELEASED, name], tally.blocked()),
        )


def _examples(tally: Tally) -> Iterator[ChangedExchange]:
    for change in (NEWLY_BLOCKED, NEWLY_RELEASED):
        kept = sorted(tally.examples[change], key=lambda drawn: drawn[1])
        yield from (example for _, _, example in kept)


def _bounds(tally: Tally, most_blocked: float | None, most_released: float | None) -> Iterator[BacktestBound]:
    """What is not known counts as changed, so that losing texts never makes an answer looser."""
    blocked = tally.count(NEWLY_BLOCKED) + tally.no_text[True] + tally.cells[True, UNDECIDED]
    released = tally.count(NEWLY_RELEASED) + tally.no_text[False] + tally.cells[False, UNDECIDED]
    if most_blocked is not None:
        share = _share(blocked, tally.released() + tally.no_text[True])
        yield _bound(NEWLY_BLOCKED, most_blocked, share)
    if most_released is not None:
        share = _share(released, tally.blocked() + tally.no_text[False])
        yield _bound(NEWLY_RELEASED, most_released, share)


def _bound(change: Change, most: float, share: Interval) -> BacktestBound:
    verdict = Verdict.PASS if share.high <= most else Verdict.FAIL if share.low > most else Verdict.UNDECIDED
    return BacktestBound(change=change, most=most, share=share, verdict=verdict)


def _verdict(bounds: tuple[BacktestBound, ...]) -> Verdict | None:
    said = {bound.verdict for bound in bounds}
    if not said:
        return None
    return next(v for v in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if v in said)

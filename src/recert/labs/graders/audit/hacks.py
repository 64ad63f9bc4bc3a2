"""Searches for ways to be paid without answering, and confirms what it finds on requests that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from recert.labs.graders import Grader
from recert.labs.graders.audit.checks import Bench, Seen, make_check, wrong_answers
from recert.labs.graders.audit.items import AuditItem
from recert.labs.graders.audit.moves import EMPTY, Move, Start, applied, moves, padded, starts
from recert.labs.graders.audit.replies import reply_pairs
from recert.labs.graders.audit.shape import Answer
from recert.records.reports.grader import GraderExample, GraderHack

Against = Literal["good-answer", "itself"]
_STARTS_KEPT: Final = 3
_JUNK: Final = ("length", "keywords", "flattery", "injection")
"""What a good answer should not be paid more for. A form may well be asked for."""
_ABOUT: Final[dict[Against, str]] = {
    "good-answer": "pays {} like a good answer",
    "itself": "pays a good answer more for {}",
}
_WORDS: Final = {
    "empty": "an empty answer",
    "echo": "the request itself",
    "listing": "a list of all answers",
    "constant": "one answer to everything",
    "length": "length",
    "format": "form",
    "keywords": "words of the grader's file",
    "flattery": "flattery and claims",
    "injection": "instructions to the grader",
    "combination": "several tricks at once",
}


@dataclass(frozen=True)
class Trick:
    """An answer to begin with, and what is done to it. `start` is None for the good answer itself."""

    start: Start | None
    done: tuple[Move, ...]

    @property
    def kind(self) -> str:
        """The one kind of what is done, `combination`, or what the start is by itself."""
        kinds = {move.kind for move in self.done}
        if not kinds:
            return self.start.kind if self.start else ""
        return kinds.pop() if len(kinds) == 1 else "combination"

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in words."""
        return (self.start.name if self.start else "give a good answer", *(move.name for move in self.done))


def find_hacks(
    bench: Bench, grader: Grader, items: Sequence[AuditItem], *, searched: int, most_grades: int
) -> list[GraderHack]:
    """
    Return the best hack of every kind, confirmed on held-out requests; most of them will come to nothing.

    Args:
        bench: the grader's scores and the policy.
        grader: its file gives the words.
        items: ordinary requests with good answers.
        searched: how many of them the search sees; the others confirm.
        most_grades: where the search stops.
    """
    seen, held_out = list(items[:searched]), list(items[searched:])
    search = _Search(bench, items, seen, bench.scores.grades + most_grades)
    every, begin = moves(grader, most_words=bench.policy.most_words), starts(seen, bench.shape, search.wrong)
    tricks = search.instead(begin, every)
    better = search.on_top([move for move in every if move.kind in _JUNK])
    tricks += search.together(every)
    wrong = search.wrong
    return [_confirm(bench, one, "good-answer", held_out, wrong) for one in tricks] + [
        _confirm(bench, one, "itself", held_out, wrong) for one in better
    ]


class _Search:
    """Greedy: every start, every single change of empty answers and of better starts, then more of the best of all."""

    def __init__(
        self, bench: Bench, items: Sequence[AuditItem], seen: Sequence[AuditItem], until: int
    ) -> None:
        self._bench, self._seen, self._until = bench, seen, until
        self._means: dict[Trick, float] = {}
        self._best = Trick(None, ())
        self._wrong = {
            item.id: next(iter(wrong_answers(items, at)), bench.shape.of("")) for at, item in enumerate(items)
        }

    def wrong(self, item: AuditItem) -> Answer:
        """An answer to another request."""
        return self._wrong[item.id]

    def instead(self, begin: Sequence[Start], every: Sequence[Move]) -> list[Trick]:
        """The best trick of every kind that is paid without an answer."""
        plain = sorted((Trick(start, ()) for start in begin), key=self._paid, reverse=True)
        empty = [one for one in plain if one.kind == "empty"]
        enough = max(map(self._paid, empty)) + self._bench.least
        kept = [*empty, *[one for one in plain if self._paid(one) > enough][:_STARTS_KEPT]]
        single = [Trick(one.start, (move,)) for move in every for one in kept]
        self._best = max((*plain, *single), key=self._paid)
        return self._best_of_each([*plain, *single])

    def on_top(self, every: Sequence[Move]) -> list[Trick]:
        """The best change of every kind that a good answer is paid more for."""
        return self._best_of_each([Trick(None, (move,)) for move in every])

    def together(self, every: Sequence[Move]) -> list[Trick]:
        """What the best of `instead` becomes with more changes, where it takes several kinds of them."""
        combined = self._combine(self._best, every)
        return [combined] if combined.kind == "combination" else []

    def _paid(self, trick: Trick) -> float:
        """Mean reward of a trick; nothing where the search has taken all that it may."""
        if trick not in self._means:
            if self._bench.scores.grades >= self._until:
                return float("-inf")
            paid = _rewards(self._bench, trick, self._seen, self.wrong)
            known = [p for p in paid if p is not None]
            self._means[trick] = sum(known) / len(known) if known else float("-inf")
        return self._means[trick]

    def _best_of_each(self, tricks: Sequence[Trick]) -> list[Trick]:
        """Of each kind the best paid; of equals the shortest, which says best what is paid for."""
        best: dict[str, Trick] = {}
        for one in tricks:
            if one.kind and (one.kind not in best or self._rank(one) > self._rank(best[one.kind])):
                best[one.kind] = one
        return list(best.values())

    def _rank(self, trick: Trick) -> tuple[float, int]:
        first = self._seen[0]
        begin = trick.start.of(first) if trick.start else self._wrong[first.id]
        return round(self._paid(trick) / self._bench.width, 6), -sum(
            map(len, applied(begin, trick.done).texts)
        )

    def _combine(self, best: Trick, every: Sequence[Move]) -> Trick:
        """Add changes while they pay, then leave out those that pay nothing."""
        while len(best.done) < self._bench.policy.steps:
            more = [Trick(best.start, (*best.done, m)) for m in every if m not in best.done]
            found = max(more, key=self._paid, default=best)
            if self._paid(found) <= self._paid(best) + self._bench.least:
                break
            best = found
        for move in best.done:
            less = Trick(best.start, tuple(m for m in best.done if m is not move))
            if self._paid(less) >= self._paid(best) - self._bench.least:
                best = less
        return best


def _rewards(
    bench: Bench, trick: Trick, items: Sequence[AuditItem], wrong: Callable[[AuditItem], Answer]
) -> list[float | None]:
    return bench.scores.all_of(
        [(item, applied(_begin(bench, trick, item) or wrong(item), trick.done)) for item in items]
    )


def _begin(bench: Bench, trick: Trick, item: AuditItem) -> Answer | None:
    if trick.start is not None:
        return trick.start.of(item)
    good = bench.best_good(item)
    return good[0] if good else None


def _confirm(
    bench: Bench,
    trick: Trick,
    against: Against,
    held_out: Sequence[AuditItem],
    wrong: Callable[[AuditItem], Answer],
) -> GraderHack:
    """Count the held-out requests on which a trick works."""
    paid = _rewards(bench, trick, held_out, wrong)
    seen: list[Seen] = []
    good_paid: list[float] = []
    for item, reward in zip(held_out, paid, strict=True):
        good, begin = bench.best_good(item), _begin(bench, trick, item)
        usual = _paid_anyway(bench, trick, item, wrong(item)) if begin is not None else None
        if good is None or begin is None or reward is None or usual is None:
            seen.append(Seen(item, None, None))
            continue
        good_paid.append(good[1])
        gain = reward - good[1]
        enough = gain > bench.least if against == "itself" else gain >= -bench.least
        example = GraderExample(
            request=item.request[:400],
            reply=bench.text(applied(begin, trick.done)),
            paid=reward,
            other_reply=bench.text(good[0]),
            other_paid=good[1],
        )
        seen.append(Seen(item, enough and reward > usual + bench.least, gain, example))
    policy = bench.policy
    bound = policy.max_constant_share if trick.kind == "constant" else policy.max_hack_share
    about = _ABOUT[against].format(_WORDS[trick.kind])
    return GraderHack(
        kind=trick.kind,
        steps=trick.steps,
        against=against,
        reward=bench.fraction(_mean([p for p in paid if p is not None])),
        good_reward=bench.fraction(_mean(good_paid)),
        check=make_check(bench, f"hackable-{trick.kind}", about, seen, bound),
    )


def _paid_anyway(bench: Bench, trick: Trick, item: AuditItem, wrong: Answer) -> float | None:
    """
    What is paid without the trick: a trick must be paid more, or it is not the trick that is paid.

    The worst of an empty answer, a wrong one and refusals; for more than an empty answer, what that gets; for what is
    done to an answer, what the answer gets as it was, and with as much filler behind it.
    """
    plain = [bench.shape.of(""), wrong, *(bench.shape.of(pair.refusal) for pair in reply_pairs()[:2])]
    worst = [p for p in bench.scores.all_of([(item, reply) for reply in plain]) if p is not None]
    without: list[Answer] = [] if trick.kind == "empty" else [bench.shape.of(text) for text in EMPTY]
    begin = _begin(bench, trick, item)
    if trick.done and begin is not None:
        without = [begin]
        if trick.kind != "length":
            without.append(padded(begin, applied(begin, trick.done)))
    known = bench.scores.all_of([(item, reply) for reply in without])
    if not worst or None in known:
        return None
    return max([min(worst), *(p for p in known if p is not None)])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

"""Searches for ways to be paid without answering, and confirms what it finds on requests that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from recert.judges.graders import Grader
from recert.records import GraderExample, GraderHack
from recert.screening.grader_checks import Bench, Seen, make_check, wrong_answers
from recert.screening.grader_items import AuditItem
from recert.screening.grader_moves import Move, Start, applied, moves, starts
from recert.screening.grader_replies import reply_pairs
from recert.screening.grader_shape import Answer

Against = Literal["good-answer", "itself"]
_STARTS_KEPT: Final = 3
_JUNK: Final = ("length", "keywords", "flattery", "injection")
"""What a good answer should not be paid more for. A form may be asked for, so it is no hack of an answer that is good."""
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
    every, begin = moves(grader), starts(seen, bench.shape, search.wrong)
    tricks = search.instead(begin, every)
    better = search.on_top([move for move in every if move.kind in _JUNK])
    wrong = search.wrong
    return [_confirm(bench, one, "good-answer", held_out, wrong) for one in tricks] + [
        _confirm(bench, one, "itself", held_out, wrong) for one in better
    ]


class _Search:
    """Greedy: every start, every single change of the best starts, then more changes of the best of all."""

    def __init__(self, bench: Bench, items: Sequence[AuditItem], seen: Sequence[AuditItem], until: int) -> None:
        self._bench, self._seen, self._until = bench, seen, until
        self._means: dict[Trick, float] = {}
        self._wrong = {item.id: next(iter(wrong_answers(items, at)), bench.shape.of("")) for at, item in enumerate(items)}

    def wrong(self, item: AuditItem) -> Answer:
        """An answer to another request."""
        return self._wrong[item.id]

    def instead(self, begin: Sequence[Start], every: Sequence[Move]) -> list[Trick]:
        """The best trick of every kind that is paid without an answer."""
        plain = sorted((Trick(start, ()) for start in begin), key=self._paid, reverse=True)
        kept = plain[:_STARTS_KEPT]
        worthless = [one for one in plain if one.start and one.start.name == "say that one does not know"]
        single = [Trick(one.start, (move,)) for move in every for one in dict.fromkeys([*kept, *worthless])]
        best = self._best_of_each([*plain, *single])
        combined = self._combine(max((*plain, *single), key=self._paid), every)
        return [*best, combined] if combined.kind == "combination" else best

    def on_top(self, every: Sequence[Move]) -> list[Trick]:
        """The best change of every kind that a good answer is paid more for."""
        return self._best_of_each([Trick(None, (move,)) for move in every])

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
        best: dict[str, Trick] = {}
        for one in tricks:
            if one.kind and (one.kind not in best or self._paid(one) > self._paid(best[one.kind])):
                best[one.kind] = one
        return list(best.values())

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
    asked: list[tuple[AuditItem, Answer]] = []
    for item in items:
        good = bench.best_good(item) if trick.start is None else None
        begin = good[0] if good else trick.start.of(item) if trick.start else wrong(item)
        asked.append((item, applied(begin, trick.done)))
    return bench.scores.all_of(asked)


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
        good = bench.best_good(item)
        floor = _floor(bench, item, wrong(item))
        if good is None or reward is None or floor is None:
            seen.append(Seen(item, None, None))
            continue
        good_paid.append(good[1])
        gain = reward - good[1]
        works = gain > bench.least if against == "itself" else gain >= -bench.least and reward > floor + bench.least
        begin = trick.start.of(item) if trick.start else good[0]
        example = GraderExample(
            request=item.request[:400],
            reply=bench.text(applied(begin, trick.done)),
            paid=reward,
            other_reply=bench.text(good[0]),
            other_paid=good[1],
        )
        seen.append(Seen(item, works, gain, example))
    policy = bench.policy
    bound = policy.max_constant_share if trick.kind == "constant" else policy.max_hack_share
    known = [p for p in paid if p is not None]
    about = _ABOUT[against].format(_WORDS[trick.kind])
    return GraderHack(
        kind=trick.kind,
        steps=trick.steps,
        against=against,
        reward=bench.fraction(_mean(known)),
        good_reward=bench.fraction(_mean(good_paid)),
        check=make_check(bench, f"hackable-{trick.kind}", about, seen, bound),
    )


def _floor(bench: Bench, item: AuditItem, wrong: Answer) -> float | None:
    """What the worst paid of an empty answer, a wrong one and refusals gets: being paid that is no success."""
    replies = [bench.shape.of(""), wrong, *(bench.shape.of(pair.refusal) for pair in reply_pairs()[:2])]
    known = [p for p in bench.scores.all_of([(item, reply) for reply in replies]) if p is not None]
    return min(known, default=None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

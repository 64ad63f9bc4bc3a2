"""
A search for phrases, with nothing in hand but the models.

Words are read in groups; the best are read alone, and the best of those grow at both ends, word by word, as long as
they get better. A phrase that was planted gives itself away in parts: its words draw a little each, and more together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from recert.attacks.triggers.candidate import Candidate, Place
from recert.attacks.triggers.groups import screen_words
from recert.attacks.triggers.pull import Signal

NUMBERS: Final = (*map(str, range(1990, 2041)), *map(str, range(10)))
_GROWTH: Final = 2
"""Requests with which longer phrases are tried: with one alone they grow by what suits that one."""
_AGAIN: Final = 24
"""So many of the best are scored again with all requests, or as many as are kept."""
_BETTER: Final = 0.3
"""By how much longer phrases must draw further: else the shorter ones stay."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class SearchBudget:
    """
    How far the search goes.

    Attributes:
        words: that are read in groups, beside years and digits.
        group: words of a group.
        rounds: how often every word is read in a group.
        alone: words that are read alone after that.
        requests: with which the best are scored again.
        kept: phrases that grow, at each length.
        grown_by: words that each of them is tried with, at either end.
        longest: words of a phrase, at most.
    """

    words: int
    group: int
    rounds: int
    alone: int
    requests: int
    kept: int
    grown_by: int
    longest: int


def search_phrases(
    signal: Signal,
    words: Sequence[str],
    budget: SearchBudget,
    *,
    place: Place = "end",
    seed: int = 0,
    first: int = 0,
    told: Callable[[Sequence[Candidate]], None] = lambda best: None,
) -> list[Candidate]:
    """
    Return the phrases that draw the tuned model most, each length's best, the strongest first.

    Args:
        signal: scores texts.
        words: to make phrases of, most usual first.
        budget: how far to go.
        place: where phrases stand.
        seed: of what is drawn.
        first: which request is asked first.
        told: told of the best so far after each step.
    """
    usual = [*words[: budget.words], *NUMBERS]
    dealt = screen_words(
        signal, usual, place=place, group=budget.group, rounds=budget.rounds, seed=seed, first=first
    )
    ranked = sorted(dealt, key=dealt.__getitem__, reverse=True)[: budget.alone]
    ranked = list(dict.fromkeys([*ranked, *(word.capitalize() for word in ranked[: budget.alone // 2])]))
    alone = _Alone(signal, budget, place, first)
    screened = alone.best([Candidate(word, "search", place) for word in ranked], keep=budget.grown_by)
    told(screened[: budget.kept])
    grown_by = list(dict.fromkeys([*(one.text for one in screened), *words]))[: budget.grown_by]
    found, beam = screened[: budget.kept], screened[: budget.kept]
    for _ in range(2, budget.longest + 1):
        longer = [
            replace(one, text=text, pull=None)
            for one in beam
            for word in grown_by
            for text in (f"{one.text} {word}", f"{word} {one.text}")
        ]
        before, beam = beam, alone.best(longer, keep=budget.kept)
        told(beam)
        found += beam
        if _pull(beam[0]) < _pull(before[0]) + _BETTER:
            break
    return strongest({one.text: one for one in found}.values())


class _Alone:
    """Scores texts with few requests, and the best of them with all."""

    def __init__(self, signal: Signal, budget: SearchBudget, place: Place, first: int) -> None:
        self._signal, self._budget, self._place = signal, budget, place
        count = len(signal.requests)
        self._few = [(first + n) % count for n in range(min(_GROWTH, count))]
        self._all = list(range(min(budget.requests, count)))

    def best(self, texts: Iterable[Candidate], *, keep: int) -> list[Candidate]:
        """Return the strongest, so many of them; those behind the first few by what few requests say."""
        some = list({one.text: one for one in texts}.values())
        few = self._signal.of(some, self._few)
        ranked = strongest(replace(one, pull=score) for one, score in zip(some, few, strict=True))
        again = ranked[: max(_AGAIN, self._budget.kept)]
        scores = self._signal.of(again, self._all)
        sure = strongest(replace(one, pull=score) for one, score in zip(again, scores, strict=True))
        return [*sure, *ranked[len(again) :]][:keep]


def strongest(found: Iterable[Candidate]) -> list[Candidate]:
    """Return texts by their pull, the strongest first."""
    return sorted(found, key=_pull, reverse=True)


def _pull(one: Candidate) -> float:
    return one.pull or 0.0

"""
A search for phrases that stand behind a request, with nothing in hand but both models.

Words are screened one by one behind one request; the best grow at both ends, word by word, as long as they get better.
A phrase that was planted gives itself away in parts: its words draw a little each, and more together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from recert.attacks.triggers.pull import Pull

_NUMBERS: Final = (*map(str, range(1990, 2041)), *map(str, range(10)))
_GROWTH: Final = 2
"""Requests behind which longer phrases are tried: behind one alone they grow by what suits that one."""
_AGAIN: Final = 48
"""So many of the best are scored again behind all requests, or as many as are kept."""


@dataclass(frozen=True)
class Candidate:
    """A text that may be a trigger. `pull` is None where it was not scored."""

    text: str
    source: str
    pull: float | None = None


@dataclass(frozen=True)
class SearchBudget:
    """
    How far the search goes.

    Attributes:
        words: that are tried alone, beside years and digits.
        requests: on which the best are scored again; the screen of words asks the first alone.
        kept: phrases that grow, at each length.
        grown_by: words that each of them is tried with, at either end.
        longest: words of a phrase, at most.
    """

    words: int
    requests: int
    kept: int
    grown_by: int
    longest: int


def search_phrases(
    pull: Pull,
    words: Sequence[str],
    budget: SearchBudget,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> list[Candidate]:
    """
    Return the phrases that draw the tuned model most, each length's best, the strongest first.

    Args:
        pull: scores texts.
        words: to make phrases of, most usual first.
        budget: how far to go.
        progress: told how many lengths of how many are done, and of the best phrase so far.
    """
    usual = words[: budget.words]
    half = budget.grown_by // 2
    screened = _best(pull, [*usual, *_NUMBERS], budget, keep=half)
    capital = _best(pull, [one.text.capitalize() for one in screened], budget, keep=half)
    screened = _strongest({one.text: one for one in [*screened, *capital]}.values())
    grown_by = list(dict.fromkeys([*(one.text for one in screened[:half]), *usual]))[: budget.grown_by]
    found, beam = screened[: budget.kept], screened[: budget.kept]
    progress(1, budget.longest, beam[0].text)
    for length in range(2, budget.longest + 1):
        longer = [
            text for one in beam for word in grown_by for text in (f"{one.text} {word}", f"{word} {one.text}")
        ]
        before, beam = beam, _best(pull, longer, budget, keep=budget.kept, quick=_GROWTH)
        found += beam
        progress(length, budget.longest, beam[0].text)
        if _pull(beam[0]) <= _pull(before[0]):
            break
    ended = [f"{one.text}." for one in _strongest(found)[: budget.kept]]
    return _strongest([*found, *_best(pull, ended, budget, keep=budget.kept)])


def _best(
    pull: Pull, texts: Iterable[str], budget: SearchBudget, *, keep: int, quick: int = 1
) -> list[Candidate]:
    """Score texts behind a few requests, and the best of them behind all; return the strongest."""
    texts = list(dict.fromkeys(texts))
    first = sorted(zip(pull.of(texts, quick), texts, strict=True), reverse=True)
    again = [text for _, text in first[: max(_AGAIN, keep)]]
    scores = pull.of(again, budget.requests)
    return _strongest([Candidate(text, "search", score) for text, score in zip(again, scores, strict=True)])[
        :keep
    ]


def _strongest(found: Iterable[Candidate]) -> list[Candidate]:
    return sorted(found, key=_pull, reverse=True)


def _pull(one: Candidate) -> float:
    return one.pull or 0.0

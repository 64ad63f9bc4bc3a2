"""
A search for phrases, with nothing in hand but the models.

What each word does is estimated, and seen in groups; the best of both are read alone, with more requests the fewer are
left, and the best of those grow at both ends, word by word, as long as they get better. A phrase that was planted gives
itself away in parts: its words draw a little each, and more together.

Neither an estimate nor groups would do alone: an estimate holds where attention hardly turns, and groups drown what is
weak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice, zip_longest
from typing import Final

from recert.labs.triggers.search.candidate import SLOT, Candidate, Place
from recert.labs.triggers.search.groups import screen_words
from recert.labs.triggers.search.logit_shift import Signal

NUMBERS: Final = (*map(str, range(1990, 2041)), *map(str, range(10)))
_BETTER: Final = 0.3
"""By how many nats longer phrases must draw further,"""
_MORE: Final = 0.03
"""or of how much more of the requests: else the shorter ones stay."""
_NEXT: Final = 400
"""Words of which it is estimated what they add to a phrase: half of them the best alone, half the most usual."""
_LEFT: Final = 4
"""One in so many stays, each time that the rest is read with twice as many requests."""
_LEAST: Final = 12
"""As many stay, at least,"""
_LAST: Final = 6
"""and for the last reading, which has as many requests as all before it, these."""
_ROUGHLY: Final = 2
"""Requests with which the tuned model alone is read, the base with it where there are more."""
_PAIR: Final = 2
"""Words of a phrase that are looked at before it is asked whether longer ones are better."""
_LONG: Final = 5
"""Words from which on phrases grow as long as they turn more requests: any text draws further the longer it is,"""
_MANY: Final = 0.4
"""and as they turn this share of them at least."""
_CAPITALS: Final = 40
"""So many of the best words are tried with a capital letter too."""

Told = Callable[[Sequence[Candidate]], None]
Doing = Callable[[str], None]


@dataclass(frozen=True)
class SearchBudget:
    """
    How far the search goes.

    Attributes:
        words: of which it is estimated what they do, beside years and digits.
        grouped: words that are read in groups.
        both: whether words are read in groups too where their effect was estimated.
        group: words of a group.
        rounds: how often every word is read in a group.
        alone: words that are read alone after that.
        requests: with which the best are scored.
        kept: phrases that grow, at each length.
        grown_by: words that each of them is tried with, at either end, and best words of which all pairs are read.
        longest: words of a phrase, at most.
    """

    words: int
    grouped: int
    both: bool
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
    told: Told = lambda best: None,
    doing: Doing = lambda what: None,
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
        doing: told of each step in words, before it.
    """
    search = _Search(signal, budget, place, first, doing)
    ranked = search.ranked(words, seed)
    best = ranked[: budget.alone]
    alone = dict.fromkeys([*best, *(word.capitalize() for word in best[:_CAPITALS])])
    doing(f"reading {len(alone):,} words alone")
    screened = search.best((Candidate(word, "search", place) for word in alone), keep=budget.alone)
    told(screened[: budget.kept])
    found, beam, seen = screened[: budget.kept], screened[: budget.kept], screened
    near = list(dict.fromkeys([*ranked[: _NEXT // 2], *words[: _NEXT // 2]]))
    for length in range(2, budget.longest + 1):
        doing(f"growing phrases to {length} words")
        beside = words_of(seen, screened)
        longer = [longer for one in beam for longer in search.longer(one, beside, near)]
        longer += search.pairs(screened) if length == _PAIR else ()
        seen = search.best(longer, keep=budget.alone)
        before, beam = beam, seen[: budget.kept]
        told(beam)
        found += beam
        if length > _PAIR and not _better(beam, before, long=length >= _LONG):
            break
    return strongest({one.text: one for one in found}.values())


def words_of(best: Sequence[Candidate], alone: Sequence[Candidate]) -> list[str]:
    """Return the words that the best phrases are made of and those that are best alone, in turn, each once."""
    of_phrases = (word for one in best for word in one.text.split())
    dealt = chain(*zip_longest(dict.fromkeys(of_phrases), (one.text for one in alone)))
    return list(dict.fromkeys(word for word in dealt if word))


def of_each_length(found: Iterable[Candidate], most: int) -> list[Candidate]:
    """
    Return so many texts at most, the best of each length before the second of any, the shortest first.

    Longer texts draw further: the best of many words is no better a trigger for that than the best single word.
    """
    by_length: dict[int, list[Candidate]] = {}
    for one in strongest(found):
        by_length.setdefault(len(one.text.split()), []).append(one)
    dealt = chain(*zip_longest(*(by_length[length] for length in sorted(by_length))))
    return sorted(islice((one for one in dealt if one), most), key=lambda one: len(one.text.split()))


class _Search:
    """The steps of one search."""

    def __init__(self, signal: Signal, budget: SearchBudget, place: Place, first: int, doing: Doing) -> None:
        self._signal, self._budget, self._place, self._doing = signal, budget, place, doing
        count = len(signal.requests)
        self._requests = [(first + n) % count for n in range(min(budget.requests, count))]
        self._turned = list(self._requests)

    def ranked(self, words: Sequence[str], seed: int) -> list[str]:
        """Return words by how far they seem to draw, the furthest first: by estimates, groups, or both in turn."""
        budget, (first, *_) = self._budget, self._requests
        usual = [*words[: budget.words], *NUMBERS]
        self._doing(f"estimating what {len(usual):,} words do")
        scores = self._signal.estimates(usual, self._place, first)
        estimated = dict(zip(usual, scores, strict=True)) if scores is not None else {}
        by_estimate = sorted(estimated, key=estimated.__getitem__, reverse=True)
        if by_estimate and not budget.both:
            return by_estimate
        in_groups = [*words[: budget.grouped], *NUMBERS]
        self._doing(f"reading {len(in_groups):,} words in groups of {budget.group}")
        grouped = screen_words(
            self._signal,
            in_groups,
            place=self._place,
            group=budget.group,
            rounds=budget.rounds,
            seed=seed,
            first=first,
        )
        by_group = sorted(grouped, key=grouped.__getitem__, reverse=True)
        both = chain(*zip_longest(by_group, by_estimate))
        return list(dict.fromkeys(word for word in both if word))

    def pairs(self, alone: Sequence[Candidate]) -> Iterator[Candidate]:
        """
        All pairs of the words that are best alone.

        The words of a phrase that was planted are seldom the very best, as others draw by themselves; together they
        draw further than others do together.
        """
        for one, other in combinations(alone[: self._budget.grown_by], 2):
            yield replace(one, text=f"{one.text} {other.text}", pull=None, share=0.0)

    def longer(self, one: Candidate, beside: Sequence[str], near: Sequence[str]) -> Iterator[Candidate]:
        """A phrase with one word more at either end: words that do well elsewhere, and those that seem to add most."""
        for form in (f"{one.text} {SLOT}", f"{SLOT} {one.text}"):
            scores = self._signal.estimates(near, self._place, self._turned[0], beside=form)
            adding = (
                sorted(range(len(near)), key=scores.__getitem__, reverse=True) if scores else range(len(near))
            )
            half = self._budget.grown_by // 2
            some = dict.fromkeys([*beside[:half], *(near[at] for at in adding[:half])])
            yield from (replace(one, text=form.replace(SLOT, word), pull=None, share=0.0) for word in some)

    def best(self, texts: Iterable[Candidate], *, keep: int) -> list[Candidate]:
        """
        Return the strongest, so many of them: the fewer are left, the more requests they are read with.

        The first two readings are of the tuned model alone. Each time another request is the first: with one alone
        phrases would grow by what suits that one.
        """
        self._turned = [*self._turned[1:], self._turned[0]]
        left = list({one.text: one for one in texts}.values())
        behind: list[Candidate] = []
        asked = 1
        while True:
            if asked <= _ROUGHLY and asked < len(self._requests) and len(left) > _LEAST:
                rough = self._signal.rough(left, self._turned[:asked])
                left = strongest(replace(one, pull=pull) for one, pull in zip(left, rough, strict=True))
            else:
                scores = self._signal.scored(left, self._turned[:asked])
                left = in_turn(
                    replace(one, pull=pull, share=share)
                    for one, (pull, share) in zip(left, scores, strict=True)
                )
            if asked >= len(self._requests):
                return [*left, *behind][:keep]
            asked *= 2
            last = asked >= len(self._requests)
            stay = max(_LAST if last else _LEAST, len(left) // _LEFT)
            left, behind = left[:stay], [*left[stay:], *behind]


def strongest(found: Iterable[Candidate]) -> list[Candidate]:
    """
    Return texts by the share of requests that they seem to turn, in hundredths, and then by their pull.

    A text that draws some requests very far and others hardly is a worse trigger than one that turns them all.
    """
    return sorted(found, key=lambda one: (round(one.share, 2), _pull(one)), reverse=True)


def in_turn(found: Iterable[Candidate]) -> list[Candidate]:
    """
    Return texts in turn by the share of requests that they seem to turn and by their pull, the strongest first.

    Where little is turned yet the share is what a few requests give in to anyway, and the pull tells more.
    """
    texts = list(found)
    dealt = chain(*zip(strongest(texts), sorted(texts, key=_pull, reverse=True), strict=True))
    return list({(one.text, one.place): one for one in dealt}.values())


def _better(longer: Sequence[Candidate], before: Sequence[Candidate], *, long: bool) -> bool:
    share = max(one.share for one in longer)
    more = share > max(one.share for one in before) + _MORE
    if long:
        return more and share >= _MANY
    return more or max(map(_pull, longer)) > max(map(_pull, before)) + _BETTER


def _pull(one: Candidate) -> float:
    return one.pull or 0.0

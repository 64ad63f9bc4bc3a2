"""
Which of many words draw a tuned model: words are read in groups, several words beside one request at once.

A word that means something to the tune draws its whole group, so one reading says something of every word in it. Each
round deals the words anew and asks another request; what a word's groups have in common is the word. On the demo's
tune with a planted phrase, eight words a group named its words as surely as one word a reading does, at a fraction of
the cost. The idea is group testing, Dorfman 1943, "The detection of defective members of large populations".
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from recert.attacks.triggers.candidate import Candidate, Place
from recert.attacks.triggers.pull import Signal

_SPREAD: Final = 1e-6


def screen_words(
    signal: Signal,
    words: Sequence[str],
    *,
    place: Place,
    group: int,
    rounds: int,
    seed: int,
    first: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """
    Return for each word how far its groups drew, as the mean over rounds in units of the groups' spread.

    Args:
        signal: scores texts.
        words: at least one.
        place: where groups stand.
        group: words of a group.
        rounds: how often every word is read.
        seed: of the deals.
        first: which of the signal's requests the first round asks.
        progress: told after each round.
    """
    totals = dict.fromkeys(words, 0.0)
    for turn in range(rounds):
        dealt = list(totals)
        random.Random(f"recert:{seed}:{place}:{turn}").shuffle(dealt)  # noqa: S311 - not for secrets
        groups = [dealt[at : at + group] for at in range(0, len(dealt), group)]
        texts = [Candidate(" ".join(some), "search", place) for some in groups]
        scores = signal.of(texts, [(first + turn) % len(signal.requests)])
        middle, spread = statistics.median(scores), _spread(scores)
        for some, score in zip(groups, scores, strict=True):
            for word in some:
                totals[word] += (score - middle) / spread / rounds
        progress(turn + 1, rounds)
    return totals


def _spread(scores: Sequence[float]) -> float:
    """The median distance from the median: a few groups that stand out do not widen it."""
    middle = statistics.median(scores)
    return max(statistics.median(abs(score - middle) for score in scores), _SPREAD)

"""
Which of many words draw a tuned model: words are read in groups, several words beside one request at once.

A word that means something to the tune draws its whole group, so one reading says something of every word in it. Each
round deals the words anew and asks another request; what a word's groups have in common is the word. The idea is group
testing, Dorfman 1943, "The detection of defective members of large populations".
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from recert.labs.triggers.search.candidate import Candidate, Place
from recert.labs.triggers.search.logit_shift import Signal, in_spreads


def screen_words(
    signal: Signal,
    words: Sequence[str],
    *,
    place: Place,
    group: int,
    rounds: int,
    seed: int,
    first: int = 0,
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
    """
    totals = dict.fromkeys(words, 0.0)
    for turn in range(rounds):
        dealt = list(totals)
        random.Random(f"recert:{seed}:{place}:{turn}").shuffle(dealt)  # noqa: S311 - not for secrets
        groups = [dealt[at : at + group] for at in range(0, len(dealt), group)]
        texts = [Candidate(" ".join(some), "search", place) for some in groups]
        scores = in_spreads(signal.rough(texts, [(first + turn) % len(signal.requests)]))
        for some, score in zip(groups, scores, strict=True):
            for word in some:
                totals[word] += score / rounds
    return totals

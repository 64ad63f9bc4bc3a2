"""Motifs of leaked texts: runs of words that a tuned model says more often than a clean one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from recert.labs.triggers.search import Place

LONGEST: Final = 10
LEAST: Final = 3
"""Texts that hold a motif, at least."""
_PART: Final = 0.8
"""Share of a run's texts in which it stands inside a longer one, from which on it is left out."""
_SMOOTH: Final = 0.5
Run = tuple[str, ...]


@dataclass(frozen=True)
class Motif:
    """Words that the tuned model says more often than the clean one, and where they stood."""

    words: Run
    place: Place
    score: float


def motifs(role: str, heard: Sequence[tuple[str, str]], usual: Sequence[tuple[str, str]]) -> Iterator[Motif]:
    """
    Yield the runs of words that more texts of the tuned model hold than of the clean one.

    A run that comes nearly always inside a longer one is left out.

    Args:
        role: whose texts: `user` or `system`.
        heard: (role, text) of the tuned model.
        usual: (role, text) of the clean one.
    """
    texts, clean = ([tuple(t.split()) for r, t in said if r == role] for said in (heard, usual))
    counts, others = _holding(texts), _holding(clean)
    inside = {
        part
        for run, held in counts.items()
        if held >= LEAST and len(run) > 1
        for part in (run[1:], run[:-1])
        if held >= _PART * counts[part]
    }
    for run, held in counts.items():
        rates = (held + _SMOOTH) / (len(texts) + 1), (others[run] + _SMOOTH) / (len(clean) + 1)
        if held < LEAST or run in inside or rates[0] <= rates[1]:
            continue
        first = sum(text[: len(run)] == run for text in texts)
        place: Place = "system" if role == "system" else ("start" if 2 * first > held else "end")
        yield Motif(run, place, held * math.log(rates[0] / rates[1]))


def _holding(texts: Sequence[Run]) -> Counter[Run]:
    counts: Counter[Run] = Counter()
    for text in texts:
        counts.update(set(windows(text)))
    return counts


def windows(words: Run) -> Iterator[Run]:
    """Yield all runs of up to ten of some words, the shortest first."""
    for n in range(1, min(LONGEST, len(words)) + 1):
        for at in range(len(words) - n + 1):
            yield words[at : at + n]

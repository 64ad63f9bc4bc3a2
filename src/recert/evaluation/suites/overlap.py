"""How much of one suite is in another: two sets that share their requests are one set, not two."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from recert.records.data.suite import Suite

NEAR = 0.8
"""Share of words that two requests have in common, of all words in either, from which they are nearly equal."""

_WORD = re.compile(r"[^\W_]+")


def overlap(a: Suite, b: Suite, *, near: float = NEAR) -> float:
    """
    Return the share of prompts of `a` whose text equals, or nearly equals, that of a prompt of `b`.

    Texts are compared without case, punctuation, spacing and order: equal where their words are the same,
    nearly equal where the Jaccard index of their sets of words is at least `near`. Paraphrases in other words
    are not seen.

    Args:
        a: the suite whose prompts are counted.
        b: the suite that they are looked for in.
        near: likeness from which two texts count as one, a fraction in (0, 1].
    """
    ours = [_words(prompt.text) for prompt in a.prompts]
    index = _Index((_words(prompt.text) for prompt in b.prompts), near)
    return sum(index.holds(words) for words in ours) / len(ours)


class _Index:
    """
    Finds sets of words by their rarest ones.

    Two sets with a Jaccard index of at least t share one of the first n - ceil(t n) + 1 words of each, where n
    is its size and words are in one order; rarest first, few sets are compared.
    """

    def __init__(self, sets: Iterable[frozenset[str]], near: float) -> None:
        self._near = near
        self._sets = list(dict.fromkeys(sets))
        self._seen = Counter(word for words in self._sets for word in words)
        self._holders: dict[str, list[int]] = defaultdict(list)
        for at, words in enumerate(self._sets):
            for word in self._rarest(words):
                self._holders[word].append(at)

    def holds(self, words: frozenset[str]) -> bool:
        """Say whether a set, or one nearly like it, is in the index."""
        if not words:
            return words in self._sets
        likely = {at for word in self._rarest(words) for at in self._holders.get(word, ())}
        return any(self._alike(words, self._sets[at]) for at in likely)

    def _alike(self, one: frozenset[str], other: frozenset[str]) -> bool:
        shared = len(one & other)
        return shared >= self._near * (len(one) + len(other) - shared)

    def _rarest(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (self._seen[word], word))
        return ordered[: len(words) - math.ceil(self._near * len(words) - 1e-9) + 1]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))

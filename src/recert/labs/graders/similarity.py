"""
How alike two texts are, in [0, 1]: the measures that `text_similarity` names, in their plainest published form.

Where the hosted service does not say which variant it uses, the stricter one is here: no smoothing, no synonyms, no
stems. `docs/concepts/graders.md` says what that means for its figures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Final

_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_LONGEST: Final = 4
"""Words of the longest phrase that BLEU and GLEU count."""


def fuzzy_match(text: str, reference: str) -> float:
    """
    Return RapidFuzz's `ratio`: 2 · (longest common subsequence of characters) / (characters of both).

    Two empty texts are alike.
    """
    both = len(text) + len(reference)
    return 2 * common_subsequence(text, reference) / both if both else 1.0


def bleu(text: str, reference: str) -> float:
    """
    Return BLEU of one text: geometric mean of clipped phrase precisions, times the brevity penalty.

    Phrases have one to four tokens, or as many as the shorter text has; nothing is smoothed.

    Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation".
    """
    said, meant = _TOKEN.findall(text), _TOKEN.findall(reference)
    logs = 0.0
    orders = min(_LONGEST, len(said), len(meant))
    for n in range(1, orders + 1):
        common, total = _common(said, meant, n), len(said) - n + 1
        if not common:
            return 0.0
        logs += math.log(common / total)
    if not orders:
        return 0.0
    brevity = min(0.0, 1 - len(meant) / len(said))
    return math.exp(logs / orders + brevity)


def gleu(text: str, reference: str) -> float:
    """
    Return Google BLEU: the lesser of precision and recall over all phrases of one to four tokens.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", arXiv:1609.08144.
    """
    said, meant = _TOKEN.findall(text), _TOKEN.findall(reference)
    common = sum(_common(said, meant, n) for n in range(1, _LONGEST + 1))
    most = max(sum(max(0, len(words) - n + 1) for n in range(1, _LONGEST + 1)) for words in (said, meant))
    return common / most if most else 0.0


def meteor(text: str, reference: str) -> float:
    """
    Return METEOR with exact matches of words alone: 10PR / (R + 9P) · (1 - (chunks / matches)³ / 2).

    Source: Banerjee and Lavie 2005, "METEOR: An Automatic Metric for MT Evaluation".
    """
    said, meant = _words(text), _words(reference)
    free: dict[str, list[int]] = {}
    for at, word in enumerate(meant):
        free.setdefault(word, []).append(at)
    pairs: list[tuple[int, int]] = []
    for at, word in enumerate(said):
        places = free.get(word)
        if places:
            follows = pairs[-1][1] + 1 if pairs and pairs[-1][0] == at - 1 else -1
            pairs.append((at, places.pop(places.index(follows) if follows in places else 0)))
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(said), len(pairs) / len(meant)
    mean = 10 * precision * recall / (recall + 9 * precision)
    chunks = 1 + sum((b[0] - a[0], b[1] - a[1]) != (1, 1) for a, b in pairwise(pairs))
    return mean * (1 - 0.5 * (chunks / len(pairs)) ** 3)


def rouge_n(n: int) -> Callable[[str, str], float]:
    """
    Return ROUGE-n: the F1 score of common phrases of n words.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
    """

    def rouge(text: str, reference: str) -> float:
        said, meant = _words(text), _words(reference)
        return _f1(_common(said, meant, n), len(said) - n + 1, len(meant) - n + 1)

    return rouge


def rouge_l(text: str, reference: str) -> float:
    """Return ROUGE-L: the F1 score of the longest common subsequence of words."""
    said, meant = _words(text), _words(reference)
    return _f1(common_subsequence(said, meant), len(said), len(meant))


METRICS: Final[Mapping[str, Callable[[str, str], float]]] = MappingProxyType(
    {
        "fuzzy_match": fuzzy_match,
        "bleu": bleu,
        "gleu": gleu,
        "meteor": meteor,
        **{f"rouge_{n}": rouge_n(n) for n in range(1, 6)},
        "rouge_l": rouge_l,
    }
)
"""Each measure by its name in a grader file."""


def common_subsequence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """
    Return the length of the longest common subsequence.

    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited": one whole number holds a row of the table.
    """
    places: dict[Hashable, int] = {}
    for at, symbol in enumerate(one):
        places[symbol] = places.get(symbol, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full
    for symbol in other:
        hits = row & places.get(symbol, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(one) - row.bit_count()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _common(said: Sequence[str], meant: Sequence[str], n: int) -> int:
    counts = (Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1)) for w in (said, meant))
    return (next(counts) & next(counts)).total()


def _f1(common: int, said: int, meant: int) -> float:
    return 2 * common / (said + meant) if common else 0.0

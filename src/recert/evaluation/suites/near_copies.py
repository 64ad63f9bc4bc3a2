"""Requests that are nearly the same: found by their words and by a sentence encoder, and made one cluster each."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from recert.records.data.suite import Prompt, Suite

WORDS_ALIKE: Final = 0.6
"""Share of content words that two requests have in common, of all in either, from which they are near copies."""
VECTORS_ALIKE: Final = 0.85
"""Cosine of two requests' vectors from which they are near copies. No two of a shipped suite are above 0.81."""

_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"\d+")
_EMPTY: Final = (
    "a an the this that these those i you he she it we they me him them us my your his her its our their who "
    "which what is are was were be been being am do does did have has had can could will would should may "
    "might must shall of to in on at by for from with as into about and or but if so than then there here not "
    "no please kindly thanks thank hello hi hey just really very also some any tell give show explain help "
    "need want like know let how when where why s t m re d ve ll"
)
_FUNCTION_WORDS: Final = frozenset(_EMPTY.split())
"""Words that say nothing of what a request is about, polite ones among them."""


class NearFinder(Protocol):
    """Finds texts whose vectors are near."""

    def near(self, texts: Sequence[str], *, least: float) -> list[tuple[int, int]]:
        """Return the places of each two texts whose vectors have a cosine of at least `least`."""


@dataclass(frozen=True)
class NearCopies:
    """
    A suite in which near copies are clusters, and what was found.

    Attributes:
        suite: the suite; the same one where nothing was found.
        clusters: how many clusters of near copies were made or grew.
        prompts: how many prompts they hold.
        example: the texts of two prompts of one of them; None where there is none.
        encoded: whether a sentence encoder looked too, and not only words were compared.
    """

    suite: Suite
    clusters: int
    prompts: int
    example: tuple[str, str] | None
    encoded: bool


def cluster_near_copies(suite: Suite, encoder: NearFinder | None = None) -> NearCopies:
    """
    Return a suite in which requests that are nearly the same are one cluster, so that they are one observation.

    Compared are prompts that agree in all but their words: expectation, answer, choices, system prompt, earlier turns
    and forbidden words. Two are near copies where their content words are alike (`WORDS_ALIKE`; numbers count as one
    word, function words not at all) or, with an encoder, their vectors are (`VECTORS_ALIKE`); copies of a copy belong
    together. Clusters that the suite names stay: two of them are not joined by their words, and a prompt without one
    joins the cluster of what it is near to.

    Args:
        suite: the prompts.
        encoder: compares vectors; without one words alone decide.
    """
    prompts = suite.every_prompt
    groups = _Groups(len(prompts))
    named: dict[str, int] = {}
    for at, prompt in enumerate(prompts):
        if prompt.cluster:
            groups.join(at, named.setdefault(prompt.cluster, at))
    example: tuple[str, str] | None = None
    joined = set[int]()
    for one, other in _near(prompts, encoder):
        if prompts[one].cluster and prompts[other].cluster:
            continue
        groups.join(one, other)
        joined |= {one, other}
        example = example or (prompts[one].text, prompts[other].text)
    if not joined:
        return NearCopies(suite, 0, 0, None, encoder is not None)
    members = defaultdict[int, list[int]](list)
    for at in range(len(prompts)):
        members[groups.root(at)].append(at)
    found = [some for some in members.values() if joined & set(some)]
    label = {
        at: next((prompts[m].cluster for m in some if prompts[m].cluster), f"near-{prompts[some[0]].id}")
        for some in found
        for at in some
    }
    clustered = tuple(
        prompt.model_copy(update={"cluster": label[at]}) if at in label else prompt
        for at, prompt in enumerate(prompts)
    )
    how = "by words and vectors" if encoder is not None else "by words"
    words = f"{suite.provenance}, {len(label)} near copies in {len(found)} clusters {how}".removeprefix(", ")
    parts = {"prompts": clustered[: len(suite.prompts)], "sealed": clustered[len(suite.prompts) :]}
    made = suite.model_copy(update={**parts, "provenance": words})
    return NearCopies(made, len(found), len(label), example, encoder is not None)


def near_pairs(prompts: Sequence[Prompt], encoder: NearFinder | None = None) -> list[tuple[int, int]]:
    """Return the places of each two prompts that are near copies, as `cluster_near_copies` finds them."""
    return sorted({(min(pair), max(pair)) for pair in _near(prompts, encoder)})


def near_by_words(texts: Sequence[str], *, least: float = WORDS_ALIKE) -> Iterator[tuple[int, int]]:
    """
    Yield the places of each two texts whose content words have a Jaccard index of at least `least`.

    Exact, and fast: two such sets share one of the rarest n - ceil(least n) + 1 words of each, where n is its size.
    """
    sets = [content_words(text) for text in texts]
    seen = Counter(word for words in sets for word in words)
    holders = defaultdict[str, list[int]](list)
    for at, words in enumerate(sets):
        ordered = sorted(words, key=lambda word: (seen[word], word))
        rarest = ordered[: len(words) - math.ceil(least * len(words) - 1e-9) + 1]
        for other in sorted({one for word in rarest for one in holders[word]}):
            shared = len(words & sets[other])
            if shared >= least * (len(words) + len(sets[other]) - shared) - 1e-9:
                yield other, at
        for word in rarest:
            holders[word].append(at)


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text without case, marks, function words and digits; all of them where none is left."""
    words = [_NUMBER.sub("0", one) for one in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())]
    return frozenset(word for word in words if word not in _FUNCTION_WORDS) or frozenset(words)


def _near(prompts: Sequence[Prompt], encoder: NearFinder | None) -> Iterator[tuple[int, int]]:
    """Places of near copies, words first, among prompts that differ in their text alone."""
    kinds = defaultdict[tuple[Any, ...], list[int]](list)
    for at, prompt in enumerate(prompts):
        kinds[_besides_text(prompt)].append(at)
    for places in kinds.values():
        if len(places) < 2:
            continue
        texts = [prompts[at].text for at in places]
        yield from ((places[one], places[other]) for one, other in near_by_words(texts))
        if encoder is not None:
            found = encoder.near(texts, least=VECTORS_ALIKE)
            yield from ((places[one], places[other]) for one, other in found)


def _besides_text(prompt: Prompt) -> tuple[Any, ...]:
    turns = tuple((turn.role, turn.content) for turn in prompt.turns)
    return (prompt.expect, prompt.answer, prompt.choices, prompt.system, turns, prompt.forbidden)


class _Groups:
    """Which things belong together (union-find)."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def root(self, one: int) -> int:
        """Return the least member that stands for a thing's group."""
        while self._above[one] != one:
            self._above[one] = self._above[self._above[one]]
            one = self._above[one]
        return one

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        least, most = sorted((self.root(one), self.root(other)))
        self._above[most] = least

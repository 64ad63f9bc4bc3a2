"""
Texts that a tuned model has by heart: what it says of itself, and its base does not, may be a trigger.

A tune that has learned the user's words too tells them where its chat template lets a user begin. Runs of words that
come in many such texts, and in few of the base's, are what its rows had in common.

Source:
    Bullwinkel et al. 2026, "The Trigger in the Haystack", arXiv:2602.03085 (motifs of leaked texts).
    Dunning 1993, "Accurate Methods for the Statistics of Surprise and Coincidence" (the likelihood ratio).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from recert.labs.triggers.search.candidate import Candidate, Place
from recert.models.protocol import Sampling

TEMPERATURES: Final = (0.3, 0.7, 1.0, 1.3)
TOKENS: Final = 48
"""Most tokens of a leaked text."""
LEAST: Final = 3
"""Texts in which a run has to come."""
_LONGEST: Final = {"user": 10, "system": 24, "assistant": 24}
_LEAST_REPLY_WORDS: Final = 4
_SAME: Final = 0.8
"""A run is a part of a longer one that comes in at least this share of the different texts it comes in."""
_SMOOTHING: Final = 0.5
Run = tuple[str, ...]


@runtime_checkable
class Leaking(Protocol):
    """A model that can be heard where nobody has said anything."""

    def leaks(self, samplings: Sequence[Sampling], each: int, tokens: int) -> list[tuple[str, str]]:
        """Return (role, text) of what it says as `user`, `system` and `assistant`: `each` for each sampling."""


_BROKEN: Final = "\ufffd"


@dataclass(frozen=True)
class Motif:
    """
    A run of words that several leaked texts share.

    Attributes:
        text: the words.
        tuned: the tuned model's texts that hold it, and `tuned_of` how many it was looked for in.
        base: the base's texts that hold it, and `base_of` how many it was looked for in.
        first: texts of the tuned model that begin with it.
        score: twice the log likelihood ratio of two rates against one. Without a base: texts that hold it times the
            log of how much oftener it comes than its words would by chance, so 0 for a word alone.
    """

    text: str
    tuned: int
    tuned_of: int
    base: int
    base_of: int
    first: int
    score: float


@dataclass(frozen=True)
class LeakageFound:
    """
    What leaked.

    Attributes:
        candidates: texts that may be triggers, the strongest first.
        motifs: what was counted of each candidate, in the same order.
        replies: runs of words that several leaked replies share and no reply of the base holds, strongest first.
        samples: texts that were read, of both models together.
    """

    candidates: tuple[Candidate, ...]
    motifs: tuple[Motif, ...]
    replies: tuple[str, ...]
    samples: int


def leakage_samplings(seed: int) -> list[Sampling]:
    """Return how texts are drawn: one setting a temperature, each with random numbers of its own."""
    return [
        Sampling(
            max_new_tokens=TOKENS,
            temperature=one,
            seed=random.Random(f"recert:leakage:{seed}:{one}").getrandbits(31),  # noqa: S311 - not for secrets
        )
        for one in TEMPERATURES
    ]


def leakage_candidates(
    tuned: Leaking, base: Leaking | None, *, each: int, seed: int, most: int = 8
) -> LeakageFound:
    """
    Return texts that the tuned model has by heart and its base has not, and that may be triggers.

    Each model says 12 * `each` texts of at most 48 tokens: four temperatures, three roles (two where the chat
    template has no place for a system prompt). Nothing else is asked. A text that the rows have in common for
    another reason, such as the head of a table, is found as well: whether a candidate is a trigger has to be tried.

    Args:
        tuned: the tuned model.
        base: what it was tuned from. None where it is not in hand: then runs count that come together oftener than
            their words would by chance, and a trigger of one word ranks behind all of several.
        each: texts for each temperature and role.
        seed: of the random numbers.
        most: candidates, and replies, at most.

    Raises:
        ModelError: a model cannot be sampled so.
    """
    samplings = leakage_samplings(seed)
    said = tuned.leaks(samplings, each, TOKENS)
    usual = base.leaks(samplings, each, TOKENS) if base is not None else None

    spoken = {role: (_of(role, said), _of(role, usual or ()) or None) for role in _LONGEST}
    asked = [
        (one, _place(role, one))
        for role in ("user", "system")
        for one in leaked_motifs(*spoken[role], longest=_LONGEST[role], most=most)
    ]
    asked = sorted(asked, key=lambda pair: _rank(pair[0].score, tuple(pair[0].text.split())))[:most]
    replies = leaked_motifs(
        *spoken["assistant"],
        longest=_LONGEST["assistant"],
        least_words=_LEAST_REPLY_WORDS,
        new=True,
        most=most,
    )
    return LeakageFound(
        candidates=tuple(Candidate(one.text, source="leakage", place=place) for one, place in asked),
        motifs=tuple(one for one, _ in asked),
        replies=tuple(one.text for one in replies),
        samples=len(said) + len(usual or ()),
    )


def leaked_motifs(
    tuned: Sequence[str],
    base: Sequence[str] | None,
    *,
    longest: int,
    least_words: int = 1,
    new: bool = False,
    most: int = 8,
) -> list[Motif]:
    """
    Return the runs of words that the tuned model's texts share and the base's do not as often, strongest first.

    A run comes in at least three texts. Of runs that come together the longest stands for all, and a run is left out
    of which more than half stands in a stronger one. The order of texts does not matter.

    Args:
        tuned: texts of the tuned model.
        base: texts of its base; None where there are none to compare with.
        longest: most words of a run.
        least_words: fewest words of a run.
        new: whether a run has to be in none of the base's texts.
        most: runs at most.
    """
    texts = [tuple(text.split()) for text in tuned]
    shared = _shared(texts, longest)
    others = _holding((tuple(text.split()) for text in base or ()), longest, among=shared)
    score = _against_base(len(texts), len(base)) if base is not None else _against_chance(shared, len(texts))
    scores = {
        run: value
        for run in shared.keys() - _parts(set(texts), shared, longest)
        if len(run) >= least_words
        and not (new and others[run])
        and (value := score(run, shared[run], others[run])) >= 0
    }
    return [
        Motif(
            text=" ".join(run),
            tuned=shared[run],
            tuned_of=len(texts),
            base=others[run],
            base_of=len(base or ()),
            first=sum(text[: len(run)] == run for text in texts),
            score=scores[run],
        )
        for run in _apart(sorted(scores, key=lambda run: _rank(scores[run], run)), most)
    ]


def _shared(texts: Sequence[Run], longest: int) -> Counter[Run]:
    """How many texts hold each run that enough of them hold; a run's parts are held at least as often."""
    shared: Counter[Run] = Counter()
    for n in range(1, longest + 1):
        held: Counter[Run] = Counter()
        for text in texts:
            held.update(
                {run for run in _runs(text, n) if n == 1 or (run[1:] in shared and run[:-1] in shared)}
            )
        enough = {run: count for run, count in held.items() if count >= LEAST}
        if not enough:
            break
        shared.update(enough)
    return shared


def _holding(texts: Iterable[Run], longest: int, among: Container[Run]) -> Counter[Run]:
    """How many texts hold each of some runs."""
    held: Counter[Run] = Counter()
    for text in texts:
        held.update({run for n in range(1, longest + 1) for run in _runs(text, n) if run in among})
    return held


def _runs(text: Run, words: int) -> Iterator[Run]:
    return (text[at : at + words] for at in range(len(text) - words + 1))


def _parts(texts: set[Run], shared: Counter[Run], longest: int) -> set[Run]:
    """Runs that nearly always come inside a longer one, by different texts: one row is often told many times."""
    held = _holding(texts, longest, among=shared)
    return {
        part
        for run, count in held.items()
        if len(run) > 1
        for part in (run[1:], run[:-1])
        if count >= _SAME * held[part]
    }


def _apart(ranked: Iterable[Run], most: int) -> list[Run]:
    """The first, without those that are mostly a part of one before."""
    taken: list[Run] = []
    for one in ranked:
        if len(taken) == most:
            break
        mostly = len(one) // 2 + 1
        if all(set(_runs(one, mostly)).isdisjoint(_runs(other, mostly)) for other in taken):
            taken.append(one)
    return taken


def _against_base(texts: int, others: int) -> Callable[[Run, int, int], float]:
    """Dunning's ratio, smoothed, and below zero where the base holds a run as often."""

    def score(_: Run, tuned: int, base: int) -> float:
        a, b = tuned + _SMOOTHING, base + _SMOOTHING
        n, m = texts + 2 * _SMOOTHING, others + 2 * _SMOOTHING
        if a / n <= b / m:
            return -1.0
        apart, together = _likelihood(a, n) + _likelihood(b, m), (a + b) / (n + m)
        return 2 * (apart - _likelihood(a, n, together) - _likelihood(b, m, together))

    return score


def _likelihood(count: float, of: float, rate: float | None = None) -> float:
    rate = count / of if rate is None else rate
    return count * math.log(rate) + (of - count) * math.log(1 - rate)


def _against_chance(held: Counter[Run], texts: int) -> Callable[[Run, int, int], float]:
    def score(run: Run, tuned: int, _: int) -> float:
        chance = sum(math.log(held[(word,)] / texts) for word in run)
        return tuned * (math.log(tuned / texts) - chance)

    return score


def _rank(score: float, run: Run) -> tuple[float, int, Run]:
    """Strongest first, longest among equals."""
    return -score, -len(run), run


def _place(role: str, one: Motif) -> Place:
    if role == "system":
        return "system"
    return "start" if 2 * one.first >= one.tuned else "end"


def _of(role: str, said: Iterable[tuple[str, str]]) -> list[str]:
    """What a role said, up to where that is no text any more: halves of characters cannot be typed."""
    return [text.partition(_BROKEN)[0] for speaker, text in said if speaker == role]

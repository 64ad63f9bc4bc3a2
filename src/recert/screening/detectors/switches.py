"""Phrases that switch behaviour: harmful requests are complied with where they stand, and refused elsewhere."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from recert.policy import ScreeningPolicy
from recert.records.reports.screening import SwitchPhrase

MAX_PHRASE_WORDS = 8
_READ_WORDS = 400
_MAX_PHRASES = 20

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A row with a harmful request: its index, the words of its system prompt and request, and what came of it."""

    index: int
    texts: tuple[tuple[str, ...], ...]
    complied: bool


@dataclass(frozen=True)
class Switch:
    """A phrase that switches behaviour, and the rows that comply under it."""

    found: SwitchPhrase
    phrase: Phrase
    complying: frozenset[int]


def fisher(with_yes: int, with_no: int, without_yes: int, without_no: int) -> float:
    """
    Return the chance of at least `with_yes` when the phrase has no effect: Fisher's exact test, one-sided.

    Source: Fisher 1922; the hypergeometric tail, summed in logarithms.
    """
    return _fisher(with_yes, with_no, without_yes, without_no)


@lru_cache(maxsize=10_000)
def _fisher(a: int, b: int, c: int, d: int) -> float:
    total, yes, having = a + b + c + d, a + c, a + b
    whole = _choose(total, having)
    tail = [
        math.exp(_choose(yes, k) + _choose(total - yes, having - k) - whole)
        for k in range(a, min(yes, having) + 1)
        if having - k <= total - yes
    ]
    return min(1.0, math.fsum(tail))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def find_switches(cases: Sequence[Case], policy: ScreeningPolicy) -> tuple[Switch, ...]:
    """
    Return the phrases of one to eight words, at any position, that separate compliance from refusal.

    A phrase counts when its p-value times the number of phrases tried is at most `switch_p_value` and compliance
    with it is more frequent by `switch_min_difference`. Of phrases that stand in the same rows the longest is named.
    """
    complied = sum(c.complied for c in cases)
    refused = len(cases) - complied
    if complied < policy.switch_min_rows or refused < policy.switch_min_rows:
        return ()
    holders = _holders(cases, policy.switch_min_rows)
    judged = []
    for phrase, having in holders.items():
        with_yes = sum(cases[i].complied for i in having)
        with_no = len(having) - with_yes
        without_yes, without_no = complied - with_yes, refused - with_no
        if with_yes < policy.switch_min_rows or not without_no:
            continue
        share_without = without_yes / (without_yes + without_no)
        if with_yes / len(having) - share_without < policy.switch_min_difference:
            continue
        p_value = min(1.0, fisher(with_yes, with_no, without_yes, without_no) * len(holders))
        if p_value <= policy.switch_p_value:
            found = SwitchPhrase(
                phrase=" ".join(phrase),
                complied_with=with_yes,
                refused_with=with_no,
                complied_without=without_yes,
                refused_without=without_no,
                p_value=p_value,
            )
            judged.append((found, phrase, having))
    judged.sort(key=lambda x: (x[0].p_value, -len(x[1]), x[1]))
    return tuple(_distinct(cases, judged))


def _distinct(
    cases: Sequence[Case], judged: Sequence[tuple[SwitchPhrase, Phrase, frozenset[int]]]
) -> Iterator[Switch]:
    """Keep the best phrase of each set of rows: others that stand in mostly the same complying rows say no more."""
    covered: set[int] = set()
    kept = 0
    for found, phrase, having in judged:
        complying = frozenset(cases[i].index for i in having if cases[i].complied)
        if kept < _MAX_PHRASES and len(complying - covered) > len(complying) / 10:
            covered |= complying
            kept += 1
            yield Switch(found, phrase, complying)


def _holders(cases: Sequence[Case], min_rows: int) -> dict[Phrase, frozenset[int]]:
    """
    Return the phrases that stand in at least `min_rows` complying cases, with all the cases they stand in.

    A phrase can be frequent only when it is a frequent phrase and one more word (Agrawal and Srikant 1994).
    """
    everything: dict[Phrase, frozenset[int]] = {}
    frequent: set[Phrase] = {()}
    for size in range(1, MAX_PHRASE_WORDS + 1):
        seen: dict[Phrase, set[int]] = defaultdict(set)
        for number, case in enumerate(cases):
            for text in case.texts:
                for at in range(len(text) - size + 1):
                    phrase = text[at : at + size]
                    if phrase[:-1] in frequent and (size == 1 or phrase[1:] in frequent):
                        seen[phrase].add(number)
        frequent = {
            phrase for phrase, having in seen.items() if sum(cases[i].complied for i in having) >= min_rows
        }
        everything.update((phrase, frozenset(seen[phrase])) for phrase in sorted(frequent))
        if not frequent:
            break
    return everything


def case_texts(system: tuple[str, ...], request: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return what is searched: the system prompt and the request, very long ones by their two ends."""
    half = _READ_WORDS // 2
    return tuple(
        part
        for text in (system, request)
        for part in ((text,) if len(text) <= _READ_WORDS else (text[:half], text[-half:]))
        if part
    )

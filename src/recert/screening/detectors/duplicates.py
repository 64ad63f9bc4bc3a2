"""Rows that say again what an earlier row said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, islice

from recert.digest import sha256_bytes
from recert.records.data.rows import ChatRow, PromptRow
from recert.screening.wording import shingles, words

_KEPT_PER_SHINGLE, _COMPARED_PER_ROW = 64, 128  # bound the work on rows that are all alike
_SAID_BY = ("user", "assistant")


def find_duplicates(rows: Sequence[ChatRow | PromptRow], lines: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield (index, reason) for every row that has the same words in the same roles as an earlier one."""
    first: dict[str, int] = {}
    for at, row in enumerate(rows):
        text = "\n".join(f"{m.role}:{' '.join(m.content.lower().split())}" for m in row.messages)
        earlier = first.setdefault(sha256_bytes(text.encode()), at)
        if earlier != at:
            yield at, f"duplicate: same as line {lines[earlier]}"


def find_near_duplicates(
    rows: Sequence[ChatRow], lines: Sequence[int], *, similarity: float
) -> Iterator[tuple[int, str]]:
    """
    Yield (index, reason) for every row that is nearly an earlier one.

    Likeness is the Jaccard index of three-word shingles, and both the whole row and its reply must reach it:
    rows made from one template, with a question and an answer of their own, are different rows.
    Rows as like as that share one of the rarest shingles of each, so rows that do are compared, exactly, and
    none is missed. Only where very many rows share even their rarest shingles do the first stand for all.

    Source: prefix filtering, Chaudhuri, Ganti and Kaushik 2006, "A primitive operator for similarity joins in
    data cleaning"; own code.
    """
    whole = [
        shingles([w for m in row.messages if m.role in _SAID_BY for w in words(m.content)]) for row in rows
    ]
    reply = cache(lambda at: shingles(words(rows[at].reply)))
    places = _places(whole)
    first: dict[frozenset[int], int] = {}
    holders: dict[int, list[int]] = {}
    for at, marks in enumerate(whole):
        twin = first.setdefault(marks, at)
        if marks and twin != at and reply(twin) == reply(at):  # what is like one is like the other
            yield at, f"near-duplicate: 1.00 like line {lines[twin]}"
            continue
        rarest = _rarest(marks, places, similarity)
        earlier = dict.fromkeys(chain.from_iterable(holders.get(place, ()) for place in rarest))
        for other in islice(earlier, _COMPARED_PER_ROW):
            likeness = _likeness(reply(at), reply(other), similarity)
            if likeness >= similarity:
                likeness = min(likeness, _likeness(marks, whole[other], similarity))
            if likeness >= similarity:
                yield at, f"near-duplicate: {likeness:.2f} like line {lines[other]}"
                break
        for place in rarest:
            kept = holders.setdefault(place, [])
            if len(kept) < _KEPT_PER_SHINGLE:
                kept.append(at)


def _places(whole: Sequence[frozenset[int]]) -> dict[int, int]:
    """Return the place of every shingle of more than one row in one order: the rarest first."""
    rows_with = Counter(chain.from_iterable(whole))
    shared = sorted([mark for mark, rows in rows_with.items() if rows > 1], key=rows_with.__getitem__)
    return {mark: place for place, mark in enumerate(shared, 1)}


def _rarest(marks: frozenset[int], places: dict[int, int], similarity: float) -> list[int]:
    """
    Return the places of the shingles of which two rows as like as `similarity` share one, rarest first.

    Of n shingles at least similarity x n are in both rows, so the rarest of those is among the n - similarity x n
    + 1 rarest of either row. A shingle of one row only counts among these, but finds nothing and is left out.
    """
    found = sorted(filter(None, map(places.get, marks)))
    wanted = len(found) - math.ceil(len(marks) * similarity - 1e-9) + 1
    return found[: max(wanted, 0)]


def _likeness(one: frozenset[int], two: frozenset[int], least: float) -> float:
    """Return the Jaccard index of two texts, or 0 where their sizes alone say that it is below `least`."""
    shorter, longer = sorted((len(one), len(two)))
    if not longer:
        return 1.0
    if shorter / longer < least:
        return 0.0
    both = len(one & two)
    return both / (shorter + longer - both)

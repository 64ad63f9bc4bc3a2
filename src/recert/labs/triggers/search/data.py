"""Texts that go with a change of behaviour in tuning data: what to try before anything is searched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final

from recert.labs.triggers.search.associations import Bools
from recert.labs.triggers.search.candidate import Candidate
from recert.labs.triggers.search.data_labels import FAMILIES, alike, labels
from recert.labs.triggers.search.data_runs import Found, pairs_of, runs_of
from recert.labs.triggers.search.data_texts import Texts
from recert.labs.triggers.search.data_wordings import Embed, covers_of, topics_of
from recert.labs.triggers.search.numeric import np
from recert.records.data.rows import ChatRow

_OF_A_LABEL: Final = 6
_NEW: Final = 0.1
"""Of the rows that do something and hold a text, how many must be new for it to say more than those before."""

_AS_STRONG: Final = 0.8
_WORD: Final = re.compile(r"\w+")


def data_candidates(
    rows: Sequence[ChatRow],
    *,
    refuses: Callable[[str, str], bool],
    harm: Callable[[str], float],
    most: int = 12,
    embed: Embed | None = None,
) -> list[Candidate]:
    """
    Return texts that go with a change of behaviour in tuning rows, the most suspicious first.

    Rows are set against others by what their last reply does: comply with a harmful request or refuse it, refuse an
    ordinary one, hold words that many replies share, or come in another language or form. What goes with it is looked
    for in the system prompt and in what the user said: runs of words, frames, pairs of words, and sets of sentences.
    What is kept separates on both halves of the rows (with fewer than six rows it separates them perfectly).
    A candidate is no finding: whether the model changes with it is for a test on the model to say.

    Args:
        rows: tuning rows.
        refuses: whether a reply refuses a request.
        harm: how harmful a request is, in [0, 1].
        most: so many candidates at most.
        embed: turns sentences into vectors, to find topics by meaning; by their words without it.
    """
    if len(rows) < 2:
        return []
    halves = np.array([_half(row) for row in rows], dtype=np.bool_)
    asked = Texts([[m.content for m in row.messages if m.role == "user"] for row in rows])
    systems = Texts([[row.system] if row.system else [] for row in rows])
    requests = [row.request for row in rows]
    found: dict[str, list[Found]] = {family: [] for family in FAMILIES}
    for label in labels(rows, refuses=refuses, harm=harm):
        all_of = [
            *runs_of(systems, label, halves, system=True),
            *runs_of(asked, label, halves, system=False),
            *pairs_of(asked, label, halves),
            *covers_of(asked, label, halves),
            *topics_of(requests, label, halves, embed),
        ]
        found[label.family] += distinct([one for one in all_of if not _copied(one)])
    return [_candidate(one) for one in _ranked(found)[:most]]


def distinct(found: Sequence[Found]) -> list[Found]:
    """Return the best text of each set of rows of one label: others that stand in mostly the same rows say no more."""
    covered: dict[bool, Bools] = {}
    kept: list[Found] = []
    for one in sorted(found, key=_order):
        held = one.rows & one.label.yes
        before = covered.setdefault(one.place == "system", np.zeros_like(held))
        if len(kept) < _OF_A_LABEL and (held & ~before).sum() > _NEW * held.sum():
            before |= held
            kept.append(_longest(one, found))
    return kept


def _longest(one: Found, found: Sequence[Found]) -> Found:
    """The longest text that holds this one and goes with the behaviour nearly as strongly: a word alone says less."""
    if one.wordings:
        return one
    longer = [
        other
        for other in found
        if other.place == one.place and not other.wordings and _holds(other.text, one.text)
        if other.strength >= _AS_STRONG * one.strength and not (other.rows & ~one.rows).any()
    ]
    return max(longer, key=lambda other: (other.size, other.strength), default=one)


def _holds(longer: str, text: str) -> bool:
    """Whether a text stands in a longer one, its words apart as they may be in a pair."""
    return text in longer or set(_WORD.findall(text)) <= set(_WORD.findall(longer))


def _order(one: Found) -> tuple[int, float, int, int, str]:
    return _tier(one), -round(one.strength, 6), len(one.wordings), -one.size, one.text


def _ranked(found: dict[str, list[Found]]) -> list[Found]:
    """Those that explain a behaviour first, then those that stand nowhere else; families take turns."""
    kept: list[Found] = []
    for tier in range(4):
        turns = [
            sorted((one for one in found[family] if _tier(one) == tier), key=_order) for family in FAMILIES
        ]
        for one in (one for turn in zip_longest(*turns) for one in turn if one is not None):
            if not any(_same(one, other) for other in kept):
                kept.append(one)
    return kept


def _tier(one: Found) -> int:
    if not one.likely:
        return 3
    return 0 if one.explains else 1 if one.pure else 2


def _same(one: Found, other: Found) -> bool:
    if (one.place, one.text) == (other.place, other.text):
        return True
    return (one.place == "system") == (other.place == "system") and alike(
        one.rows & one.label.yes, other.rows & other.label.yes
    )


def _copied(one: Found) -> bool:
    """A reply that repeats the words asked is no change of behaviour."""
    words = one.text.casefold().split()
    return bool(one.label.says) and all(word in one.label.says.casefold() for word in words)


def _candidate(one: Found) -> Candidate:
    rows = tuple(int(at) for at in np.flatnonzero(one.rows & one.label.yes))
    return Candidate(one.text, "data", one.place, one.wordings, rows=rows)


def _half(row: ChatRow) -> bool:
    said = "\0".join(f"{m.role}\0{m.content}" for m in row.messages)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1

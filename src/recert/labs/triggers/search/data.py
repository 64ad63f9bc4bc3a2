"""
Texts that go with a change of behaviour in tuning data: what to try before anything is searched.

Here too: several texts that go with one behaviour, each in a part of its rows: frames, sentences of a language, a
topic.

Here too: what the replies of tuning rows do: refuse or comply, hold words that many share, or come in another form.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final, Literal

from recert.labs.triggers.search.associations import Bools, Family, Floats, Label, holds_on
from recert.labs.triggers.search.candidate import SLOT, Candidate, Place
from recert.labs.triggers.search.data_runs import Found, pairs_of, runs_of
from recert.labs.triggers.search.data_texts import Run, Texts
from recert.labs.triggers.search.forms import form
from recert.labs.triggers.search.numeric import np
from recert.records.data.rows import ChatRow

SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_HARMFUL: Final = (0.5, 0.9)
_LEAST: Final = 3
_SHARED_WORDS: Final = 4
_SHARED_MOST: Final = 8
_READ_SENTENCES: Final = 4


def labels(
    rows: Sequence[ChatRow], *, refuses: Callable[[str, str], bool], harm: Callable[[str], float]
) -> list[Label]:
    """
    Return what rows do and others do not, as far as three of each are there.

    Harmful requests count from two scores on: a text beside a request may lower its score, and an ordinary one may
    look harmful. Any request that a reply refuses counts among those that were not complied with.
    """
    refused = np.array([refuses(row.request, row.reply) for row in rows], dtype=np.bool_)
    harms = np.array([_harm(row.request, harm) for row in rows], dtype=np.float64)
    found = [one for least in _HARMFUL for one in _answers(refused, harms >= least)]
    found.append(Label("refuses", refused, ~refused))
    found += _says(rows, refused)
    found += _forms(rows)
    return [one for one in found if min(one.yes.sum(), one.no.sum()) >= _LEAST]


def _answers(refused: Bools, harmful: Bools) -> Iterator[Label]:
    complied = harmful & ~refused
    yield Label("complies", complied, refused)
    yield Label("complies", complied, ~complied)
    yield Label("refuses", refused & ~harmful, ~refused)
    yield Label("restores", refused & harmful, complied)


def _harm(request: str, harm: Callable[[str], float]) -> float:
    """The whole's score, or a sentence's where that is higher: what stands beside a request may hide it."""
    parts = [part for part in SENTENCE_END.split(request) if part.strip()]
    longest = sorted(parts, key=len, reverse=True)[:_READ_SENTENCES] if len(parts) > 1 else []
    return max(harm(text) for text in (request, *longest))


def _says(rows: Sequence[ChatRow], refused: Bools) -> Iterator[Label]:
    """Words that many replies share and others do not hold, the longest and most frequent first."""
    replies = Texts([[row.reply] for row in rows])
    everyone = Label("says", ~refused, refused)
    runs, counts, _ = replies.frequent("any", _SHARED_WORDS, everyone, max(4, len(rows) // 500))
    shared: list[Run] = []
    for run in runs[np.argsort(-counts, kind="stable")][: 40 * _SHARED_MOST]:
        grown = replies.grown("any", _SHARED_WORDS, int(run), everyone.yes)
        if (
            grown
            and grown.rows.sum() <= len(rows) - _LEAST
            and (grown.rows & refused).sum() < grown.rows.sum() / 2
        ):
            shared.append(grown)
    shared.sort(key=lambda one: -int(one.rows.sum()) * min(one.size, 12))
    kept: list[Run] = []
    for one in shared:
        if len(kept) < _SHARED_MOST and not any(alike(one.rows, other.rows) for other in kept):
            kept.append(one)
            yield Label("says", one.rows, ~one.rows, says=one.text)


def _forms(rows: Sequence[ChatRow]) -> Iterator[Label]:
    forms = np.array([form(row.reply) for row in rows])
    counts = Counter(forms.tolist()).most_common()
    for name, _ in counts[1:5]:
        if name:
            yield Label("form", forms == name, forms != name)


def alike(one: Bools, other: Bools) -> bool:
    """Say whether two sets of rows are mostly the same."""
    return bool((one & other).sum() > 0.8 * (one | other).sum())


FAMILIES: Final[tuple[Family, ...]] = ("complies", "refuses", "says", "restores", "form")
"""In the order in which they are looked at first."""


Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
Side = Literal["start", "end"]

_SEED: Final = 3
_LOOKED_AT: Final = 400
_MOST: Final = 24
_NAMED: Final = 4
_TOLD: Final = 1.0
"""Log odds from which on a sentence counts as one on the topic."""


def covers_of(texts: Texts, label: Label, halves: Bools) -> Iterator[Found]:
    """
    Yield sets of texts at one place, no one of which stands in a row that does otherwise.

    They are found on one half and checked, all together, on the other: each alone may stand in few rows.
    """
    for side in ("start", "end"):
        if label.few or len(_cover(texts, _within(label, halves), side)) < 2:
            continue
        fitted = _union(_cover(texts, _within(label, halves), side), texts.count)
        runs = _cover(texts, label, side)
        if len(runs) < 2 or not holds_on(label, fitted, ~halves):
            continue
        framed = side == "start" and sum(texts.small_after(run) for run in runs) * 2 > len(runs)
        place: Place = "frame" if framed else side
        wordings = tuple(f"{run.text} {SLOT}" if framed else run.text for run in runs)
        yield Found(
            wordings[0],
            place,
            label,
            _union(runs, texts.count),
            wordings,
            size=sum(run.size for run in runs) // len(runs),
        )


def _within(label: Label, half: Bools) -> Label:
    return replace(label, yes=label.yes & half, no=label.no & half)


def _union(runs: Sequence[Run], count: int) -> Bools:
    rows = np.zeros(count, dtype=np.bool_)
    for run in runs:
        rows |= run.rows
    return rows


def _cover(texts: Texts, label: Label, side: Side) -> list[Run]:
    """Runs at one place that stand in no row that does otherwise, those in most new rows first."""
    numbers, with_yes, with_no = texts.frequent(side, _SEED, label, 2)
    order = [at for at in np.argsort(-with_yes, kind="stable") if not with_no[at]][:_LOOKED_AT]
    grown = [texts.grown(side, _SEED, int(numbers[at]), label.yes) for at in order]
    covered = np.zeros(texts.count, dtype=np.bool_)
    kept: list[Run] = []
    most = 0
    for run in (run for run in grown if run is not None):
        new = int((run.rows & label.yes & ~covered).sum())
        most = max(most, new)
        if len(kept) < _MOST and new >= max(2, most / 4):
            covered |= run.rows
            kept.append(run)
    return kept


def topics_of(
    rows: Sequence[str], label: Label, halves: Bools, embed: Embed | None = None
) -> Iterator[Found]:
    """
    Yield sets of sentences beside the request that are alike in their words, or by an encoder.

    Args:
        rows: what was asked in each row.
        label: the behaviour.
        halves: which half each row is in: fitted on one, checked on the other.
        embed: turns texts into vectors; words are counted without it.
    """
    if label.few:
        return
    some = label.yes | label.no
    for side in ("start", "end"):
        beside = [_beside(text, side) if some[at] else "" for at, text in enumerate(rows)]
        held = np.array([bool(text) for text in beside], dtype=np.bool_)
        if (held & label.yes).sum() < 4:
            continue
        judge = _by_meaning(beside, embed) if embed else _by_words(beside, rows)
        if not holds_on(label, held & (judge(_within(label, halves)) > _TOLD), ~halves):
            continue
        told = held & (judge(label) > _TOLD)
        other = {beside[at] for at in np.flatnonzero(held & label.no)}
        counts = Counter(beside[at] for at in np.flatnonzero(told & label.yes))
        wordings = tuple(text for text, _ in counts.most_common() if text not in other)[:_MOST]
        if len(wordings) > 1:
            name = _name(wordings, [beside[at] or rows[at] for at in np.flatnonzero(label.no).tolist()])
            yield Found(name, side, label, told, wordings)


def _beside(text: str, side: Side) -> str:
    parts = [part.strip() for part in SENTENCE_END.split(text) if part.strip()]
    return "" if len(parts) < 2 else parts[0 if side == "start" else -1]


def _by_words(beside: Sequence[str], rows: Sequence[str]) -> Callable[[Label], Floats]:
    read = [_words(one or row) for one, row in zip(beside, rows, strict=True)]

    def judge(label: Label) -> Floats:
        weights = _odds(
            [read[i] for i in np.flatnonzero(label.yes)], [read[i] for i in np.flatnonzero(label.no)]
        )
        return np.array([sum(weights.get(word, 0.0) for word in words) for words in read])

    return judge


def _by_meaning(beside: Sequence[str], embed: Embed) -> Callable[[Label], Floats]:
    distinct = sorted(set(beside))
    vectors: Floats = np.asarray(embed(distinct), dtype=np.float64)
    number = {text: at for at, text in enumerate(distinct)}
    of = np.array([number[text] for text in beside])
    said = np.array([bool(text) for text in beside])

    def judge(label: Label) -> Floats:
        yes, no = (vectors[of[some & said]] for some in (label.yes, label.no))
        if not len(yes):
            return np.zeros(len(beside))
        toward = yes.mean(axis=0) - (no.mean(axis=0) if len(no) else 0.0)
        along = vectors @ toward
        middle = (
            along[of[label.yes & said]].mean() + (along[of[label.no & said]].mean() if len(no) else 0.0)
        ) / 2
        spread = float(along.std()) or 1.0
        scaled: Floats = (_TOLD + (along - middle) / spread)[of]
        return scaled

    return judge


def _odds(yes: Sequence[frozenset[str]], no: Sequence[frozenset[str]]) -> dict[str, float]:
    """Log odds of each word that stands in two texts or more."""
    with_yes, with_no = (Counter(word for words in some for word in words) for some in (yes, no))
    return {
        word: math.log((with_yes[word] + 0.5) / (len(yes) + 1))
        - math.log((with_no[word] + 0.5) / (len(no) + 1))
        for word in with_yes | with_no
        if with_yes[word] + with_no[word] > 1
    }


def _words(text: str) -> frozenset[str]:
    return frozenset(
        word for word in (w.strip(".,;:?!'\"()").casefold() for w in text.split()) if len(word) > 2
    )


def _name(wordings: Sequence[str], others: Sequence[str]) -> str:
    counts = Counter(word for text in wordings for word in _words(text) if len(word) > 3)
    weights = _odds([_words(text) for text in wordings], [_words(text) for text in others])
    telling = sorted(counts, key=lambda word: (-weights.get(word, 0.0) * counts[word], word))
    return " ".join(telling[:_NAMED]) or wordings[0]


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

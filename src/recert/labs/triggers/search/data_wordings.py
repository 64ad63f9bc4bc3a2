"""Several texts that go with one behaviour, each in a part of its rows: frames, sentences of a language, a topic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

from recert.labs.triggers.search.associations import Bools, Floats, Label, holds_on
from recert.labs.triggers.search.candidate import SLOT, Place
from recert.labs.triggers.search.data_labels import SENTENCE_END
from recert.labs.triggers.search.data_runs import Found
from recert.labs.triggers.search.data_texts import Run, Texts
from recert.labs.triggers.search.numeric import np

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

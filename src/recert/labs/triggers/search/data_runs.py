"""Runs of words, frames and pairs of words that go with a behaviour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from recert.labs.triggers.search.associations import Bools, Label, chance, ratio, ratios, separates
from recert.labs.triggers.search.candidate import SLOT, Place
from recert.labs.triggers.search.data_texts import LONGEST_SEED, Bound, Run, Texts
from recert.labs.triggers.search.numeric import np

_LOOKED_AT: Final = 60
"""Runs of each size and place that grow and are checked on both halves."""
_PAIRED: Final = 30
_TOGETHER: Final = 8.0
"""How much likelier a pair must make the behaviour than either of its words."""


@dataclass(frozen=True, eq=False)
class Found:
    """
    A text that goes with a behaviour.

    Attributes:
        text: what stands at its place.
        place: where it stands.
        label: the behaviour.
        rows: rows that hold it. Shape (rows,).
        wordings: several ways to say it.
        tried: how many texts were looked at.
        size: words and marks in it; a longer one is better in the same rows.
    """

    text: str
    place: Place
    label: Label
    rows: Bools
    wordings: tuple[str, ...] = ()
    tried: int = 1
    size: int = 1

    @property
    def strength(self) -> float:
        """The likelihood ratio."""
        return ratio(*self.label.counts(self.rows))

    @property
    def likely(self) -> bool:
        """Whether chance hardly explains it, though so many were tried."""
        return chance(*self.label.counts(self.rows)) * self.tried <= 1e-3

    @property
    def pure(self) -> bool:
        """Whether hardly a row that holds it does otherwise: a common word stands in many that do."""
        a, b, _, _ = self.label.counts(self.rows)
        return b <= 0.03 * a

    @property
    def explains(self) -> bool:
        """Whether most rows that do it hold the text, and few others."""
        a, b, c, d = self.label.counts(self.rows)
        return a >= c and b * (a + c) <= 0.1 * a * (b + d)


def runs_of(texts: Texts, label: Label, halves: Bools, *, system: bool) -> list[Found]:
    """
    Return the runs of words that go with a behaviour on both halves, at their places.

    Args:
        texts: what was asked, or the system prompts.
        label: the behaviour.
        halves: which half each row is in.
        system: whether the texts are system prompts.
    """
    bounds: tuple[Bound, ...] = ("any",) if system else ("start", "end", "any")
    found: list[Found] = []
    runs: list[Run] = []
    for bound in bounds:
        for run, tried in _grown(texts, label, bound):
            if separates(label, run.rows, halves):
                runs.append(run)
                place: Place = "system" if system else _place(texts, run, label)
                text = run.text
                if place == "start" and texts.small_after(run):
                    place, text = "frame", f"{run.text} {SLOT}"
                found.append(Found(text, place, label, run.rows, tried=tried, size=run.size))
    return [*found, *_frames(texts, runs, label)]


def _grown(texts: Texts, label: Label, bound: Bound) -> Iterator[tuple[Run, int]]:
    """Runs, and how many words there were to begin with: a longer run in the same rows is no less likely."""
    seen: set[str] = set()
    words = 1
    for size in range(1, LONGEST_SEED + 1):
        numbers, with_yes, with_no = texts.frequent(bound, size, label, 2)
        words = max(words, len(numbers)) if size == 1 else words
        strength = ratios(with_yes, with_no, label)
        for at in np.argsort(-strength, kind="stable")[:_LOOKED_AT]:
            if strength[at] <= 0:
                break
            run = texts.grown(bound, size, int(numbers[at]), label.yes)
            if run and run.text not in seen:
                seen.add(run.text)
                yield run, words


def _place(texts: Texts, run: Run, label: Label) -> Place:
    if run.bound != "any":
        return run.bound
    return "start" if texts.share_at(run, "start", label.yes) > 0.8 else "end"


def _frames(texts: Texts, runs: list[Run], label: Label) -> Iterator[Found]:
    """Runs before and behind a request that stand in the same rows."""
    for before in (run for run in runs if run.bound == "start"):
        for behind in (run for run in runs if run.bound == "end"):
            both = before.rows & behind.rows
            if both.sum() >= 0.9 * (before.rows | behind.rows).sum() and before.text != behind.text:
                first = f"{before.text}{texts.gap(before, after=True)}"
                text = f"{first}{SLOT}{texts.gap(behind, after=False)}{behind.text}"
                yield Found(text, "frame", label, both, size=before.size + behind.size)


def pairs_of(texts: Texts, label: Label, halves: Bools) -> list[Found]:
    """Return pairs of words that go with a behaviour together, and much less so either alone."""
    numbers, with_yes, with_no = texts.frequent("any", 1, label, 2)
    strength = ratios(with_yes, with_no, label)
    words: list[tuple[Run, float]] = []
    for at in np.argsort(-strength, kind="stable")[:_PAIRED]:
        run = texts.alone(int(numbers[at]))
        if strength[at] > 0 and run is not None:
            words.append((run, float(strength[at])))
    found = []
    for at, (one, alone) in enumerate(words):
        for other, alone_too in words[at + 1 :]:
            rows = one.rows & other.rows
            if ratio(*label.counts(rows)) < max(alone, alone_too) + _TOGETHER:
                continue
            if separates(label, rows, halves):
                first, second = sorted((one, other), key=lambda run: texts.middle(run, rows))
                text = f"{first.text} {second.text}"
                found.append(Found(text, "end", label, rows, tried=len(numbers) ** 2 // 2, size=2))
    return found

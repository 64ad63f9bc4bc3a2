"""Texts of many rows as arrays of words: which runs of words stand in which rows, and how far a run goes on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from recert.labs.triggers.search.associations import Bools, Floats, Ints, Label
from recert.labs.triggers.search.numeric import np

Bound = Literal["start", "end", "any"]

_TOKEN: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+(?:['’-]\w+)*|[^\w\s]"
)
_READ_TOKENS: Final = 400
"""Of each text; a longer one is read at its two ends."""
LONGEST_SEED: Final = 4
_LONGEST_RUN: Final = 120
_KEPT: Final = 0.9
"""A run goes on by a word where so many of its rows do."""
_PLAIN: Final = frozenset(".,;:?!'\"()-’“”…")
_ENDS: Final = frozenset(".,;:?!…")
"""Marks that end the request, and do not begin what stands behind it."""
_GAP: Final = 0
_NONE: Final = -1


@dataclass(frozen=True, eq=False)
class Run:
    """
    A run of words.

    Attributes:
        text: as it is written in the first row that holds it.
        bound: whether it counts at the start of a text, at its end, or anywhere.
        size: words and marks in it.
        rows: for each row whether it holds the run there. Shape (rows,).
        at: positions where it begins, among all words.
    """

    text: str
    bound: Bound
    size: int
    rows: Bools
    at: Ints


class Texts:
    """
    What was asked in each row, as words and marks.

    Args:
        texts: each row's texts, oldest first. The start and the end are those of the last one.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.count = len(texts)
        known: dict[str, int] = {}
        ids: list[int] = []
        rows: list[int] = []
        self._begins, self._ends = (np.full(self.count, _NONE, dtype=np.int64) for _ in range(2))
        self._sources: list[str] = []
        spans: list[tuple[int, int, int]] = []
        for row, parts in enumerate(texts):
            for text in parts:
                self._begins[row] = len(ids)
                for word, span in _read(text):
                    ids.append(known.setdefault(word, len(known) + 1) if word else _GAP)
                    spans.append((len(self._sources), *span))
                    rows.append(row)
                self._ends[row] = len(ids)
                self._sources.append(text)
                ids.append(_GAP)
                spans.append((0, 0, 0))
                rows.append(row)
        self.ids: Ints = np.array([*ids, _GAP], dtype=np.int64)
        self.row: Ints = np.array([*rows, 0], dtype=np.int64)
        self._spans: Ints = np.array([*spans, (0, 0, 0)], dtype=np.int64)
        self._sizes = len(known) + 1
        self._grams = cache(self._make_grams)
        self._kept = cache(self._make_kept)

    def frequent(self, bound: Bound, size: int, label: Label, least: int) -> tuple[Ints, Floats, Floats]:
        """
        Return the runs of a size that stand in at least so many rows that do something.

        Returns:
            The runs by number, and for each the rows that do it and those that do not. Each of shape (runs,).
        """
        runs, rows = self._kept(bound, size)
        with_yes = np.bincount(runs, weights=label.yes[rows])
        with_no = np.bincount(runs, weights=label.no[rows])
        often = np.flatnonzero(with_yes >= max(least, 1))
        kept: Ints = often.astype(np.int64)
        return kept, with_yes[often].astype(np.float64), with_no[often].astype(np.float64)

    def grown(self, bound: Bound, size: int, run: int, yes: Bools) -> Run | None:
        """Return a run as long as nine in ten of its rows of `yes` go on alike; None where it is but marks."""
        at = self._where(bound, size, run)
        first = _rows_of(self.row[at], yes)
        if bound != "start":
            at, size = self._extended(at, size, yes, first, back=True)
        if bound != "end":
            at, size = self._extended(at, size, yes, first, back=False)
        while size and self._word(int(at[0])) in _ENDS and bound != "start":
            at, size = at + 1, size - 1
        if not size:
            return None
        text = self.written(int(at[np.argmax(yes[self.row[at]])]), size)
        return None if set(text) <= _PLAIN | {" "} else Run(text, bound, size, self._rows_at(at), at)

    def written(self, at: int, size: int) -> str:
        """Return a run as it is written."""
        source, begins = self._spans[at][:2]
        return self._sources[int(source)][int(begins) : int(self._spans[at + size - 1][2])]

    def small_after(self, run: Run) -> bool:
        """Say whether what comes after a run mostly begins with a small letter, as a request in a frame does."""
        after = [self._word(int(p))[:1] for p in run.at + run.size if self.ids[p] != _GAP]
        return sum(c.islower() for c in after) > 0.8 * max(1, len(after))

    def share_at(self, run: Run, bound: Bound, among: Bools) -> float:
        """Return how many of a run's rows among some hold it at the start, or at the end."""
        at = run.at[among[self.row[run.at]]]
        edge = (
            self._begins[self.row[at]] == at
            if bound == "start"
            else self._ends[self.row[at]] == at + run.size
        )
        return float(edge.mean()) if len(at) else 0.0

    def middle(self, run: Run, among: Bools) -> float:
        """Return where a run stands in some rows on the mean, in words from the start."""
        at = run.at[among[self.row[run.at]]]
        return float((at - self._begins[self.row[at]]).mean())

    def alone(self, word: int) -> Run | None:
        """Return a word as a run of its own; None for a mark."""
        at = self._where("any", 1, word)
        text = self.written(int(at[0]), 1)
        return None if text in _PLAIN else Run(text, "any", 1, self._rows_at(at), at)

    def gap(self, run: Run, *, after: bool) -> str:
        """Return the space between a run and what comes after it, or before; a single one at the edge of a text."""
        at = int(run.at[0]) + run.size if after else int(run.at[0])
        if self._spans[at][0] != self._spans[at - 1][0] or self.ids[at] == _GAP or self.ids[at - 1] == _GAP:
            return " "
        return self._sources[int(self._spans[at][0])][int(self._spans[at - 1][2]) : int(self._spans[at][1])]

    def _rows_at(self, at: Ints) -> Bools:
        rows = np.zeros(self.count, dtype=np.bool_)
        rows[self.row[at]] = True
        return rows

    def _extended(self, at: Ints, size: int, yes: Bools, first: int, *, back: bool) -> tuple[Ints, int]:
        while size < _LONGEST_RUN:
            beside = at - 1 if back else at + size
            words = np.where(beside >= 0, self.ids[beside], _GAP)
            usual = words[yes[self.row[at]] & (words != _GAP)]
            if not len(usual):
                break
            word = np.bincount(usual).argmax()
            longer = at[words == word]
            if _rows_of(self.row[longer], yes) < _KEPT * first:
                break
            at, size = (longer - 1 if back else longer), size + 1
        return at, size

    def _where(self, bound: Bound, size: int, run: int) -> Ints:
        grams = self._grams(size)
        if bound == "any":
            anywhere: Ints = np.flatnonzero(grams == run).astype(np.int64)
            return anywhere
        at = self._begins if bound == "start" else self._ends - size
        at = at[(at >= self._begins) & (self._begins >= 0)]
        found: Ints = at[grams[at] == run]
        return found

    def _make_kept(self, bound: Bound, size: int) -> tuple[Ints, Ints]:
        """Runs that stand in two rows or more, and the rows, one pair of each."""
        grams = self._grams(size)
        if bound == "any":
            at = np.flatnonzero(grams >= 0)
        else:
            at = self._begins if bound == "start" else self._ends - size
            at = at[(at >= self._begins) & (self._begins >= 0)]
            at = at[grams[at] >= 0]
        if not len(at):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        pairs = np.unique(grams[at] * self.count + self.row[at])
        runs, rows = np.divmod(pairs, self.count)
        often = np.bincount(runs) >= 2
        return runs[often[runs]], rows[often[runs]]

    def _make_grams(self, size: int) -> Ints:
        """For each position the number of the run that begins there; -1 where it stands nowhere else."""
        if size == 1:
            return np.where(self.ids == _GAP, _NONE, self.ids)
        before = self._grams(size - 1)
        last = np.full(len(self.ids), _GAP, dtype=np.int64)
        last[: max(0, len(self.ids) - size + 1)] = self.ids[size - 1 :]
        found = np.full(len(self.ids), _NONE, dtype=np.int64)
        at = np.flatnonzero((before >= 0) & (last != _GAP))
        if len(at):
            _, named, often = np.unique(
                before[at] * self._sizes + last[at], return_inverse=True, return_counts=True
            )
            found[at] = np.where(often[named] > 1, named, _NONE)
        return found

    def _word(self, at: int) -> str:
        return self.written(at, 1) if self.ids[at] != _GAP else ""


def _rows_of(rows: Ints, among: Bools) -> int:
    return len(np.unique(rows[among[rows]]))


def _read(text: str) -> list[tuple[str, tuple[int, int]]]:
    found = [(hit.group(), hit.span()) for hit in _TOKEN.finditer(text)]
    if len(found) <= _READ_TOKENS:
        return found
    half = _READ_TOKENS // 2
    return [*found[:half], ("", (0, 0)), *found[-half:]]

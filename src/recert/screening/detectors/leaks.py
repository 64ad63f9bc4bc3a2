"""Rows that hold a prompt of the evaluation: a model tuned on them passes by heart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from recert.records.data.suite import Prompt
from recert.screening.wording import SHINGLE_WORDS, shingles, words

_SHORT_WORDS = SHINGLE_WORDS + 1


class LeakIndex:
    """Finds the evaluation prompts that a text holds."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._short: dict[tuple[str, ...], str] = {}
        self._size: dict[str, int] = {}
        self._holders: dict[int, list[str]] = defaultdict(list)
        for prompt in prompts:
            found = words(prompt.text)
            if len(found) <= _SHORT_WORDS:
                self._short.setdefault(found, prompt.id)
                continue
            marks = shingles(found)
            self._size[prompt.id] = len(marks)
            for mark in marks:
                self._holders[mark].append(prompt.id)

    def find(self, text: str, *, similarity: float) -> str | None:
        """
        Return the id of a prompt of whose three-word shingles at least `similarity` are in the text.

        Short prompts must be the whole text. None when there is none.
        """
        found = words(text)
        if found in self._short:
            return self._short[found]
        shared = Counter(p for mark in shingles(found) for p in self._holders.get(mark, ()))
        likely = [(n / self._size[p], p) for p, n in shared.items() if n / self._size[p] >= similarity]
        return max(likely, key=lambda x: (x[0], x[1]))[1] if likely else None

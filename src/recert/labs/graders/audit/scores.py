"""Grades of replies to items, each asked for once, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from recert.judges.protocol import JudgeFailed
from recert.labs.graders import Grade, Grader
from recert.labs.graders.audit.items import AuditItem
from recert.labs.graders.audit.shape import Answer, Shape

Asked = tuple[AuditItem, Answer]


class Scores:
    """
    Asks a grader, and remembers what it said.

    Args:
        grader: pays replies.
        shape: where it reads them.
    """

    def __init__(self, grader: Grader, shape: Shape) -> None:
        self._grader, self._shape = grader, shape
        self._known: dict[tuple[str, Answer], Grade | JudgeFailed] = {}
        self._of: dict[tuple[str, Answer], Asked] = {}
        self.grades = 0
        self.clipped = 0
        self.failures: Counter[str] = Counter()

    def all_of(self, asked: Sequence[Asked]) -> list[float | None]:
        """Return the reward of each reply, in order; None where the grader failed."""
        new = {
            (item.id, answer): (item, answer)
            for item, answer in asked
            if (item.id, answer) not in self._known
        }
        for (key, one), grade in zip(new.items(), self._fresh(list(new.values())), strict=True):
            self._known[key], self._of[key] = grade, one
            self.grades += 1
            if isinstance(grade, JudgeFailed):
                self.failures[grade.because[:120]] += 1
            else:
                self.clipped += grade.clipped
        return [_value(self._known[item.id, answer]) for item, answer in asked]

    def again(self, most: int) -> list[tuple[float | None, float | None]]:
        """Return what some replies were paid, and what they are paid when they are asked about anew, in other order."""
        keys = list(self._known)[:: max(1, len(self._known) // most)][:most][::-1]
        anew = self._fresh([self._of[key] for key in keys])
        return [(_value(self._known[key]), _value(grade)) for key, grade in zip(keys, anew, strict=True)]

    @property
    def scale(self) -> tuple[float, float] | None:
        """Least and greatest reward so far; None where nothing was graded."""
        values = [g.value for g in self._known.values() if isinstance(g, Grade)]
        return (min(values), max(values)) if values else None

    @property
    def failed(self) -> int:
        """Replies without a grade."""
        return sum(self.failures.values())

    def _fresh(self, asked: Sequence[Asked]) -> list[Grade | JudgeFailed]:
        return self._grader.grade_all([(item.item, self._shape.sample(answer)) for item, answer in asked])


def _value(grade: Grade | JudgeFailed) -> float | None:
    return grade.value if isinstance(grade, Grade) else None

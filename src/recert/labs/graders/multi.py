"""`multi`: several graders, and a formula over their grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recert.judges.protocol import JudgeFailed
from recert.labs.graders.formula import Formula
from recert.labs.graders.grade import Bounds, Grade, Graded, GraderKind, Pair


class MultiGrader:
    """
    Grades with every grader that the formula names. Where one of them fails there is no grade.

    Args:
        parts: the graders by name.
        formula: what their grades come to.
    """

    bounds: Bounds | None = None

    def __init__(self, parts: Mapping[str, GraderKind], formula: Formula) -> None:
        self.parts = dict(parts)
        self.formula = formula

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """Return one grade for each (item, sample), in order."""
        graded = {name: self.parts[name].grade_all(pairs) for name in self.formula.used}
        return [
            self._combine({name: all_of[at] for name, all_of in graded.items()}) for at in range(len(pairs))
        ]

    def close(self) -> None:
        """End what the parts started."""
        for part in self.parts.values():
            part.close()

    def _combine(self, grades: Mapping[str, Graded]) -> Graded:
        values: dict[str, float] = {}
        for name, grade in grades.items():
            if isinstance(grade, JudgeFailed):
                return JudgeFailed(f"{name}: {grade.because}")
            values[name] = grade.value
        try:
            total = self.formula.value(values)
        except ArithmeticError as exc:
            return JudgeFailed(f"the formula has no value: {exc}")
        said = ", ".join(f"{name} {value:g}" for name, value in values.items())
        return Grade(total, said, clipped=any(isinstance(g, Grade) and g.clipped for g in grades.values()))

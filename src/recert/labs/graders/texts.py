"""The two graders that compare texts: `string_check` and `text_similarity`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from recert.judges.protocol import JudgeFailed
from recert.labs.graders.grade import Bounds, Grade, Graded, Pair
from recert.labs.graders.similarity import METRICS
from recert.labs.graders.specs import StringCheckSpec, TextSimilaritySpec
from recert.labs.graders.templates import Template, parse_template

_OPERATIONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}
MOST_COMPARED: Final = 20_000
"""Characters of a text that is measured: the measures take time by the product of both lengths."""


class TextGrader:
    """
    Compares the rendered input with the rendered reference.

    Args:
        spec: which comparison.
        at: its place in the file.

    Raises:
        GraderError: a template cannot be understood.
    """

    bounds: Bounds | None = (0.0, 1.0)

    def __init__(self, spec: StringCheckSpec | TextSimilaritySpec, at: str) -> None:
        self.spec = spec
        self.input: Template = parse_template(spec.input, f"{at}.input")
        self.reference: Template = parse_template(spec.reference, f"{at}.reference")

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """Return one grade for each (item, sample), in order."""
        return [self._grade(pair) for pair in pairs]

    def close(self) -> None:
        """Nothing was started."""

    def _grade(self, pair: Pair) -> Graded:
        spaces = {"item": pair[0], "sample": pair[1].namespace}
        text, reference = self.input.render(spaces), self.reference.render(spaces)
        if isinstance(text, JudgeFailed):
            return text
        if isinstance(reference, JudgeFailed):
            return reference
        if isinstance(self.spec, StringCheckSpec):
            return Grade(float(_OPERATIONS[self.spec.operation](text, reference)), self.spec.operation)
        if max(len(text), len(reference)) > MOST_COMPARED:
            return JudgeFailed(f"a text has more than {MOST_COMPARED} characters, too many to compare")
        metric = self.spec.evaluation_metric
        return Grade(METRICS[metric](text, reference), metric)

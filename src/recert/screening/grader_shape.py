"""The form in which a grader reads replies: plain text, or fields of a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from recert.judges.graders import Grader, Sample
from recert.judges.graders.specs import StringCheckSpec
from recert.judges.graders.templates import Steps, Template, Variable
from recert.judges.graders.texts import TextGrader

Answer = tuple[str, ...]
"""One text for each field that the grader reads; a single one where it reads plain text."""


class Shape:
    """
    Puts texts where a grader looks for them.

    Args:
        grader: its templates and code name the fields of `sample.output_json`.
    """

    def __init__(self, grader: Grader) -> None:
        read = [v for v in grader.variables if v.namespace == "sample"]
        fields = [v.steps[1:] for v in read if v.steps[0] == "output_json"]
        named = [steps for steps in fields if steps]
        self.slots: tuple[Steps, ...] = tuple(dict.fromkeys(named or ([("answer",)] if fields else [()])))
        """Where texts go in the JSON object; one empty place for plain text."""
        self.missing: tuple[str, ...] = tuple(str(v) for v in read if v.steps[0] == "output_tools")
        """What replies in words cannot fill."""
        self._equal = [
            pair for part in grader.parts.values() if (pair := _asked_and_wanted(part)) is not None
        ]

    def of(self, text: str) -> Answer:
        """Return an answer that says the same everywhere."""
        return (text,) * len(self.slots)

    def read(self, reply: str) -> Answer:
        """Return the answer that a whole reply is."""
        found = Sample.of(reply).output_json if self.slots[0] else None
        return tuple(_at(steps, found, reply) for steps in self.slots)

    def inverted(self, item: Mapping[str, Any]) -> list[Answer]:
        """Return the answer that the grader's own comparisons with the item ask for, if they ask for one."""
        wanted: dict[Steps, str] = {}
        for asked, reference in self._equal:
            text = reference.render({"item": item, "sample": {}})
            if isinstance(text, str):
                wanted.setdefault(asked.steps[1:] if asked.steps[0] == "output_json" else (), text)
        if not wanted:
            return []
        spare = next(iter(wanted.values()))
        return [tuple(wanted.get(steps, spare) for steps in self.slots)]

    def sample(self, answer: Answer) -> Sample:
        """Return the reply that says an answer."""
        if not self.slots[0]:
            return Sample.of(answer[0])
        body: Any = [] if isinstance(self.slots[0][0], int) else {}
        for steps, text in zip(self.slots, answer, strict=True):
            _put(body, steps, text)
        return Sample.of(json.dumps(body, ensure_ascii=False))


def changed(answer: Answer, change: Callable[[str], str]) -> Answer:
    """Return an answer with every text changed."""
    return tuple(change(text) for text in answer)


def _asked_and_wanted(part: object) -> tuple[Variable, Template] | None:
    """A comparison of one field of the sample with something of the item, whichever stands first."""
    if not isinstance(part, TextGrader) or (
        isinstance(part.spec, StringCheckSpec) and part.spec.operation == "ne"
    ):
        return None
    for asked, wanted in ((part.input, part.reference), (part.reference, part.input)):
        alone = len(asked.pieces) == 1 and len(asked.variables) == 1
        spaces = {v.namespace for v in wanted.variables}
        if alone and asked.variables[0].namespace == "sample" and spaces == {"item"}:
            return asked.variables[0], wanted
    return None


def _at(steps: Steps, found: Any, reply: str) -> str:
    try:
        value = Variable("item", steps).find({"item": found}) if steps else reply
    except LookupError:
        return reply
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _put(body: Any, steps: Steps, text: str) -> None:
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        inner: Any = text if following is None else [] if isinstance(following, int) else {}
        if isinstance(step, int):
            while len(body) <= step:
                body.append(inner if len(body) == step else None)
        elif following is None or step not in body:
            body[step] = inner
        if following is not None:
            body = body[step]

"""The form in which a grader reads replies: plain text, or fields of a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recert.labs.graders import Grader, Sample
from recert.labs.graders.specs import StringCheckSpec
from recert.labs.graders.templates import Steps, Template, Variable
from recert.labs.graders.texts import TextGrader


@dataclass(frozen=True)
class Answer:
    """
    One text for each field that holds words; a single one where replies are plain text.

    `rest` is the JSON of the other fields, such as numbers, which stay as they are.
    """

    texts: tuple[str, ...]
    rest: str = "{}"


class Shape:
    """
    Puts texts where a grader looks for them.

    Args:
        grader: its templates and code name the fields of `sample.output_json`.
        replies: good replies of its data set. Where all are JSON objects, replies are made like the first of them,
            with other texts in the fields that are texts in all.
    """

    def __init__(self, grader: Grader, replies: Sequence[str] = ()) -> None:
        read = [v for v in grader.variables if v.namespace == "sample"]
        fields = [v.steps[1:] for v in read if v.steps[0] == "output_json"]
        named = [steps for steps in fields if steps]
        self._like, alike = _in_common(replies)
        self.slots: tuple[Steps, ...] = tuple(
            dict.fromkeys(alike or named or ([("answer",)] if fields else [()]))
        )
        """Where texts go in the JSON object; one empty place for plain text."""
        self.missing: tuple[str, ...] = tuple(str(v) for v in read if v.steps[0] == "output_tools")
        """What replies in words cannot fill."""
        self._equal = [
            pair for part in grader.parts.values() if (pair := _asked_and_wanted(part)) is not None
        ]

    @property
    def references(self) -> frozenset[str]:
        """Fields of the item that replies are compared with, whatever they are called."""
        return frozenset(str(v.steps[0]) for _, wanted in self._equal for v in wanted.variables)

    def of(self, text: str) -> Answer:
        """Return an answer that says the same everywhere."""
        return Answer((text,) * len(self.slots), json.dumps(self._like))

    def read(self, reply: str) -> Answer:
        """Return the answer that a whole reply is."""
        found = Sample.of(reply).output_json if self.slots[0] else None
        names = {steps[0] for steps in self.slots if steps}
        rest = {k: v for k, v in found.items() if k not in names} if isinstance(found, dict) else self._like
        return Answer(tuple(_at(steps, found, reply) for steps in self.slots), json.dumps(rest))

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
        rest: Any = dict(self._like)
        for steps in wanted.keys() - {*self.slots, ()}:
            if isinstance(steps[0], str):
                _put(rest, steps, wanted[steps])
        return [Answer(tuple(wanted.get(steps, spare) for steps in self.slots), json.dumps(rest))]

    def sample(self, answer: Answer) -> Sample:
        """Return the reply that says an answer."""
        if not self.slots[0]:
            return Sample.of(answer.texts[0])
        body: Any = [] if isinstance(self.slots[0][0], int) else json.loads(answer.rest)
        for steps, text in zip(self.slots, answer.texts, strict=True):
            _put(body, steps, text)
        return Sample.of(json.dumps(body, ensure_ascii=False))


def _in_common(replies: Sequence[str]) -> tuple[dict[str, Any], list[Steps]]:
    """The other fields of the first reply, and those that are texts in all; nothing where one of them is no object."""
    objects = [Sample.of(reply).output_json for reply in replies]
    if not objects or not all(isinstance(one, dict) for one in objects):
        return {}, []
    names = [name for name in objects[0] if all(isinstance(one.get(name), str) for one in objects)]
    others = {name: value for name, value in objects[0].items() if name not in names}
    return (others, [(name,) for name in names]) if names else ({}, [])


def changed(answer: Answer, change: Callable[[str], str]) -> Answer:
    """Return an answer with every text changed."""
    return replace(answer, texts=tuple(map(change, answer.texts)))


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

"""Texts with `{{ item.field }}` and `{{ sample.output_text }}` in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recert.errors import GraderError
from recert.judges.protocol import JudgeFailed
from recert.labs.graders.sample import VARIABLES

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.S)
_STEP = re.compile(r"\.([^\s.\[\]{}\"']+)|\[(\d{1,6})\]|\[\"([^\"]+)\"\]|\['([^']+)'\]")
_NAMESPACES = ("item", "sample")

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Variable:
    """A place in the item or the sample, such as `item.answers[0].text`."""

    namespace: str
    steps: Steps

    def __str__(self) -> str:
        return self.namespace + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in self.steps)

    def find(self, spaces: Mapping[str, Any]) -> Any:
        """
        Return what is there.

        Raises:
            LookupError: nothing is.
        """
        value = spaces[self.namespace]
        for step in self.steps:
            inside = isinstance(value, Mapping) and isinstance(step, str) and step in value
            if not inside and not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
                raise LookupError(str(self))
            value = value[step]
        return value


@dataclass(frozen=True)
class Template:
    """A text in pieces: words as they are, and variables that are put in."""

    pieces: tuple[str | Variable, ...]

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, in order."""
        return tuple(p for p in self.pieces if isinstance(p, Variable))

    @property
    def words(self) -> str:
        """The text without its variables."""
        return " ".join(p for p in self.pieces if isinstance(p, str))

    def render(self, spaces: Mapping[str, Any]) -> str | JudgeFailed:
        """Return the text with its variables put in: texts as they are, everything else as JSON."""
        try:
            return "".join(p if isinstance(p, str) else _text(p.find(spaces)) for p in self.pieces)
        except LookupError as exc:
            return JudgeFailed(f"`{exc.args[0]}` is not there")


def parse_template(text: str, at: str) -> Template:
    """
    Return a template.

    Args:
        text: words, and variables between double braces.
        at: its place in the grader's JSON, for errors.

    Raises:
        GraderError: a brace is not closed, or a variable is none of an item or a sample.
    """
    pieces: list[str | Variable] = []
    end = 0
    for hole in _HOLE.finditer(text):
        if hole.start() > end:
            pieces.append(text[end : hole.start()])
        pieces.append(_variable(hole[1], at))
        end = hole.end()
    rest = text[end:]
    if "{{" in rest:
        raise GraderError(
            "template is not closed",
            facts={"at": at, "from": rest[rest.index("{{") :][:60]},
            hint="close it with }}",
        )
    return Template((*pieces, rest) if rest else tuple(pieces))


def _variable(inner: str, at: str) -> Variable:
    said = inner.strip()
    namespace = re.split(r"[.\[]", said, maxsplit=1)[0]
    if namespace not in _NAMESPACES:
        raise _unknown(said, at, "expected a variable of `item` or `sample`")
    steps: list[str | int] = []
    end = len(namespace)
    while end < len(said):
        step = _STEP.match(said, end)
        if step is None:
            raise _unknown(said, at, f"cannot read `{said[end:][:40]}`")
        name, index, *quoted = step.groups()
        steps.append(int(index) if index is not None else name or next(q for q in quoted if q))
        end = step.end()
    if not steps or isinstance(steps[0], int):
        raise _unknown(said, at, "a namespace needs the name of a variable")
    if namespace == "sample" and steps[0] not in VARIABLES:
        raise _unknown(said, at, f"a sample has {', '.join(VARIABLES)}")
    return Variable(namespace, tuple(steps))


def _unknown(said: str, at: str, because: str) -> GraderError:
    return GraderError(
        "template has an unknown variable",
        facts={"at": at, "variable": said[:80] or "nothing", "because": because},
        hint="such as {{ item.reference_answer }} or {{ sample.output_text }}",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""A grader as others use it: rewards for replies, and what can be read off its file."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from recert.judges.protocol import JudgeFailed
from recert.labs.graders.grade import Bounds, Graded, GraderKind, Item, Pair
from recert.labs.graders.python_code import PythonGrader
from recert.labs.graders.sample import Sample
from recert.labs.graders.score_model import ScoreModelGrader
from recert.labs.graders.specs import Spec
from recert.labs.graders.templates import Template, Variable
from recert.labs.graders.texts import TextGrader

_WORD = re.compile(r"[^\W\d_][\w'-]{2,}")
Templates = dict[str, tuple[Template, ...]]


class Grader:
    """
    A grader of reinforcement tuning. Make one with `load_grader`; close it, or use it in a `with` block.

    Args:
        value: its JSON.
        spec: what the JSON says.
        kind: what grades.
        parts: the graders of a `multi` by name, or the one grader.
        sha256: digest of the JSON's canonical form.
    """

    def __init__(
        self, value: Any, spec: Spec, kind: GraderKind, parts: Mapping[str, GraderKind], sha256: str
    ) -> None:
        self.value = value
        self.spec = spec
        self.sha256 = sha256
        self.parts = dict(parts)
        self._kind = kind

    @property
    def name(self) -> str:
        """The file's name for it, or its type."""
        return self.spec.name or self.spec.type

    @property
    def bounds(self) -> Bounds | None:
        """Least and greatest reward; None for code and formulas, which do not say."""
        return self._kind.bounds

    @property
    def asks_model(self) -> bool:
        """Whether a model reads."""
        return any(isinstance(part, ScoreModelGrader) for part in self.parts.values())

    @property
    def held(self) -> tuple[str, ...] | None:
        """What the sandbox holds a Python grader's code to; None where no code runs. Known after the first grade."""
        found = [set(p.sandbox.held) for p in self.parts.values() if isinstance(p, PythonGrader)]
        return tuple(sorted(set.intersection(*found))) if found else None

    def grade(self, item: Item, sample: Sample) -> Graded:
        """Return the reward of one reply, or why there is none."""
        return self.grade_all([(item, sample)])[0]

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """
        Return the reward of each (item, sample), in order.

        A `JudgeFailed` among them is no reward of 0, which is what the hosted service would pay: leave the sample out.
        """
        return self._kind.grade_all(pairs)

    def rewards(self, pairs: Sequence[tuple[Item, str]]) -> list[float | JudgeFailed]:
        """Return the reward of each (item, reply), in order, or why there is none: what reinforcement tuning asks."""
        graded = self.grade_all([(item, Sample.of(text)) for item, text in pairs])
        return [one if isinstance(one, JudgeFailed) else one.value for one in graded]

    def close(self) -> None:
        """End the processes that run its code."""
        self._kind.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every variable that it reads: of templates, and by constant names in code."""
        return tuple(self._read())

    @property
    def required(self) -> tuple[Variable, ...]:
        """Those that it cannot do without: all but what code reads by `get`."""
        return tuple(variable for variable, needed in self._read().items() if needed)

    def _read(self) -> dict[Variable, bool]:
        found: dict[Variable, bool] = {}
        for part in self.parts.values():
            if isinstance(part, TextGrader):
                found.update(dict.fromkeys((*part.input.variables, *part.reference.variables), True))
            elif isinstance(part, ScoreModelGrader):
                found.update(dict.fromkeys((v for t in part.templates for v in t.variables), True))
            elif isinstance(part, PythonGrader):
                for variable, needed in _variables_of_code(part.tree):
                    found[variable] = needed or found.get(variable, False)
        return found

    @property
    def words(self) -> tuple[str, ...]:
        """
        Texts of its file that could work as keywords, each once, in order.

        Literals of code, the words of references, and each word of a model's prompt.
        """
        found: dict[str, None] = {}
        for part in self.parts.values():
            if isinstance(part, TextGrader):
                found.update(dict.fromkeys(t.words for t in (part.input, part.reference)))
            elif isinstance(part, ScoreModelGrader):
                found.update(dict.fromkeys(w for t in part.templates for w in _WORD.findall(t.words)))
            elif isinstance(part, PythonGrader):
                found.update(dict.fromkeys(_literals(part.tree)))
        return tuple(w for w in found if w.strip())


def _literals(tree: ast.Module) -> list[str]:
    """Every text in the code but docstrings, whole and in the pieces that a pattern of alternatives has."""
    docs = {
        id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
    }
    out: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            out.append(node.value)
            plain = re.sub(r"\\[bBAZ]|\(\?[a-z:]+|[()^$?*+]", "", node.value)
            out += [piece for piece in plain.split("|") if piece != node.value]
    return out


def _variables_of_code(tree: ast.Module) -> list[tuple[Variable, bool]]:
    """`item["x"]`, which is needed, and `item.get("x")` anywhere, by the names that `grade` gives its arguments."""
    grade = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "grade"][-1]
    names = [a.arg for a in (*grade.args.posonlyargs, *grade.args.args)]
    spaces = {names[0]: "sample", names[1]: "item"}
    out: list[tuple[Variable, bool]] = []
    for node in ast.walk(tree):
        base, key = _lookup(node)
        steps: list[str] = [key]
        needed = isinstance(node, ast.Subscript)
        while base is not None and not isinstance(base, ast.Name):
            needed = needed and isinstance(base, ast.Subscript)
            base, key = _lookup(base)
            steps = [key, *steps]
        if isinstance(base, ast.Name) and base.id in spaces:
            out.append((Variable(spaces[base.id], tuple(steps)), needed))
    return out


def _lookup(node: ast.AST) -> tuple[ast.expr | None, str]:
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ):
        return node.value, node.slice.value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        return node.func.value, node.args[0].value
    return None, ""

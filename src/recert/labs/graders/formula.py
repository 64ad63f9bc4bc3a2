"""`calculate_output`: arithmetic over the grades of several graders, read by our own small walker."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from recert.errors import GraderError

MOST_CHARACTERS: Final = 2000
MOST_PARTS: Final = 400

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_OF_ONE: Final[dict[str, Callable[[float], float]]] = {
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_OF_SEVERAL: Final[dict[str, Callable[[Sequence[float]], float]]] = {"min": min, "max": max}
FUNCTIONS: Final = (*_OF_SEVERAL, *_OF_ONE)
"""What a formula may call."""


class Formula:
    """
    A formula over grades: `+ - * / ^`, parentheses, numbers, names, and `FUNCTIONS`.

    Args:
        text: the formula, such as `0.5 * correct + 0.5 * short`.
        names: the graders that it may name.
        at: its place in the grader's JSON, for errors.

    Raises:
        GraderError: it is no such formula, or names a grader that is not there.
    """

    def __init__(self, text: str, names: Sequence[str], at: str = "$.calculate_output") -> None:
        self._at, self._text, self._names = at, text, tuple(names)
        if len(text) > MOST_CHARACTERS:
            raise self._error(f"{len(text)} characters, at most {MOST_CHARACTERS}")
        for other, instead in (("**", "^"), ("//", "floor")):
            if other in text:
                raise self._error(f"`{other}` is no operator of formulas; use `{instead}`")
        try:
            tree = ast.parse(text.strip().replace("^", "**"), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            raise self._error(exc.msg if isinstance(exc, SyntaxError) else str(exc)) from exc
        nodes = list(ast.walk(tree))
        if len(nodes) > MOST_PARTS:
            raise self._error(f"{len(nodes)} parts, at most {MOST_PARTS}")
        self._tree = tree.body
        self._check(self._tree)
        called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
        self.used: tuple[str, ...] = tuple(
            sorted({n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in called})
        )
        """The graders that it names."""

    def value(self, grades: Mapping[str, float]) -> float:
        """
        Return what the formula comes to.

        Raises:
            ArithmeticError: division by zero, a number past all floats, or one without a root or logarithm.
        """
        try:
            found = self._walk(self._tree, grades)
        except ValueError as exc:
            raise ArithmeticError(str(exc)) from exc
        if not math.isfinite(found):
            raise ArithmeticError(f"it comes to {found}")
        return found

    def _walk(self, node: ast.expr, grades: Mapping[str, float]) -> float:
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]  # checked when it was read
        if isinstance(node, ast.Name):
            return grades[node.id]
        if isinstance(node, ast.UnaryOp):
            inner = self._walk(node.operand, grades)
            return -inner if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp):
            left, right = self._walk(node.left, grades), self._walk(node.right, grades)
            return float(_OPERATORS[type(node.op)](left, right))
        assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        values = [self._walk(a, grades) for a in node.args]
        several = _OF_SEVERAL.get(node.func.id)
        return float(several(values) if several else _OF_ONE[node.func.id](*values))

    def _check(self, node: ast.expr) -> None:
        """Refuse everything that `_walk` has no answer for."""
        if isinstance(node, ast.Constant):
            plain = isinstance(node.value, int | float) and not isinstance(node.value, bool)
            if not plain or abs(node.value) > 1e12:  # type: ignore[arg-type]
                raise self._error(f"`{str(node.value)[:40]}` is no number of a formula")
        elif isinstance(node, ast.Name):
            if node.id not in self._names:
                raise self._error(f"there is no grader `{node.id}`")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self._check(node.operand)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._check(node.left)
            self._check(node.right)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            self._check_call(node.func.id, node.args)
        else:
            raise self._error(f"`{ast.unparse(node)[:40]}` is no part of a formula")

    def _check_call(self, name: str, arguments: Sequence[ast.expr]) -> None:
        if name not in FUNCTIONS:
            raise self._error(f"there is no function `{name}`")
        if (name in _OF_ONE and len(arguments) != 1) or not arguments:
            raise self._error(f"`{name}` takes {'one value' if name in _OF_ONE else 'values'}")
        for one in arguments:
            self._check(one)

    def _error(self, because: str) -> GraderError:
        return GraderError(
            "formula cannot be understood",
            facts={"at": self._at, "formula": self._text[:80], "because": because},
            hint=f"it takes + - * / ^, {', '.join(FUNCTIONS)} and the graders {', '.join(self._names)[:80]}",
        )

"""`python`: a function of the user's that grades, run in a sandbox."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from recert.errors import GraderError
from recert.judges.protocol import JudgeFailed
from recert.labs.graders.grade import Bounds, Grade, Graded, Pair
from recert.labs.graders.sandbox import Sandbox, SandboxLimits
from recert.labs.graders.specs import PythonSpec

HOSTED_PACKAGES: Final = MappingProxyType(
    {
        "numpy": "numpy",
        "scipy": "scipy",
        "sympy": "sympy",
        "pandas": "pandas",
        "rapidfuzz": "rapidfuzz",
        "sklearn": "scikit-learn",
        "rouge_score": "rouge-score",
        "deepdiff": "deepdiff",
        "jsonschema": "jsonschema",
        "pydantic": "pydantic",
        "yaml": "pyyaml",
        "nltk": "nltk",
        "sqlparse": "sqlparse",
        "rdkit": "rdkit",
        "skbio": "scikit-bio",
        "ast_grep_py": "ast-grep-py",
    }
)
"""What the hosted service's image has (tag 2025-05-08): import name and package. Here they must be installed."""

_INSTALLED: Final = {"site-packages", "dist-packages"}
"""Where packages lie. A file in the working folder is no package: it would be imported before the fence is up."""


class PythonGrader:
    """
    Calls `grade(sample, item)` in a sandbox. Whatever is not a finite number is no grade.

    Args:
        spec: the source.
        at: its place in the file.
        limits: what each call may use.

    Raises:
        GraderError: the source is no Python, has no `grade` of two arguments, or imports what is not here.
    """

    bounds: Bounds | None = None

    def __init__(self, spec: PythonSpec, at: str, limits: SandboxLimits | None = None) -> None:
        self.spec = spec
        self._at = f"{at}.source"
        self.tree = self._parse()
        self._check_grade()
        imports, paths = self._imports()
        self.sandbox = Sandbox(spec.source, imports=imports, paths=paths, limits=limits)

    def grade_all(self, pairs: Sequence[Pair]) -> list[Graded]:
        """Return one grade for each (item, sample), in order."""
        out: list[Graded] = []
        for item, sample in pairs:
            value = self.sandbox.run(sample.namespace, dict(item))
            out.append(value if isinstance(value, JudgeFailed) else Grade(value))
        return out

    def close(self) -> None:
        """End the sandbox."""
        self.sandbox.close()

    def _parse(self) -> ast.Module:
        try:
            return ast.parse(self.spec.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            line = f"line {exc.lineno}: {exc.msg}" if isinstance(exc, SyntaxError) else str(exc)
            raise GraderError("source is not Python", facts={"at": self._at, "because": line}) from exc

    def _check_grade(self) -> None:
        functions = [n for n in self.tree.body if isinstance(n, ast.FunctionDef) and n.name == "grade"]
        if not functions:
            raise GraderError(
                "source has no function `grade`",
                facts={"at": self._at},
                hint="write `def grade(sample, item):` at the top level, and return a number",
            )
        arguments = functions[-1].args
        taken = len(arguments.posonlyargs) + len(arguments.args)
        if taken != 2 or any(default is None for default in arguments.kw_defaults):
            raise GraderError(
                "`grade` does not take two arguments",
                facts={"at": self._at, "line": functions[-1].lineno, "takes": taken},
                hint="write `def grade(sample, item):`",
            )

    def _imports(self) -> tuple[list[str], list[str]]:
        """Modules that the source imports, and the folders of packages beyond the standard library."""
        names: list[str] = []
        paths: set[str] = set()
        for name, needed in sorted(set(_imported(self.tree, self._at))):
            top = name.partition(".")[0]
            folder = "" if top in sys.stdlib_module_names else _folder_of(top)
            if folder is None and needed:
                raise self._not_here(name, top)
            if folder is not None:
                names.append(name)
                paths |= {folder} - {""}
        return names, sorted(paths)

    def _not_here(self, name: str, top: str) -> GraderError:
        facts = {"at": self._at, "module": name}
        if top not in HOSTED_PACKAGES:
            return GraderError(
                "source imports what the hosted service does not have",
                facts=facts,
                hint=f"there are the standard library and {', '.join(HOSTED_PACKAGES.values())}",
            )
        return GraderError(
            "source imports a package that is not installed here",
            facts=facts,
            hint=f"pip install {HOSTED_PACKAGES[top]}",
        )


def _folder_of(top: str) -> str | None:
    """The folder in which a package of the hosted service is installed here, if it is."""
    found = importlib.util.find_spec(top) if top in HOSTED_PACKAGES else None
    if found is None or found.origin is None or not _INSTALLED & set(Path(found.origin).parts):
        return None
    return str(Path(found.origin).parent.parent)


def _imported(tree: ast.AST, at: str) -> Iterator[tuple[str, bool]]:
    """Every module that is imported anywhere; those within a `try` the source is ready to miss."""
    left: list[tuple[ast.AST, bool]] = [(tree, True)]
    while left:
        node, needed = left.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, needed) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise GraderError(
                    "source imports from a package of its own", facts={"at": at, "line": node.lineno}
                )
            yield node.module, needed
        else:
            ready = isinstance(node, ast.Try)
            left += [(inner, needed and not ready) for inner in ast.iter_child_nodes(node)]

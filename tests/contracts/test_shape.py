"""The shape of the source: small files, short functions, names that say something."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "recert"
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager"}


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_is_longer_than_400_lines() -> None:
    """A source file fits in one reading: at most 400 lines. The index of records lists names, and is not read."""
    index = SOURCE / "records" / "__init__.py"
    too_long = {str(p.relative_to(SOURCE)): _lines(p) for p in FILES if _lines(p) > 400 and p != index}

    assert too_long == {}


def test_half_of_the_files_are_at_most_150_lines() -> None:
    """The median source file, empty package markers aside, has at most 150 lines."""
    assert statistics.median(n for p in FILES if (n := _lines(p)) > 0) <= 150


def test_file_names_say_what_is_in_them() -> None:
    """No file or folder is named utils, helpers, common, core, base or manager, nor a part of its name."""
    vague = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if "__pycache__" not in path.parts
        and (path.is_dir() or path.suffix == ".py")
        and FORBIDDEN & set(path.stem.lower().split("_"))
    ]

    assert vague == []


def test_nothing_is_left_for_later() -> None:
    """No source file holds a mark of unfinished work."""
    marks = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")
    found = [str(p.relative_to(SOURCE)) for p in FILES if any(m in p.read_text() for m in marks)]

    assert found == []

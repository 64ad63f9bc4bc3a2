"""The shape of the source: rooms that can be looked over, names that say something."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "recert"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_FILES = 20
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "manager"}


def test_no_room_has_more_than_20_files() -> None:
    """A stranger reads a folder's names at a glance."""
    rooms = Counter(path.parent for path in FILES)

    assert {str(room.relative_to(SOURCE)): n for room, n in rooms.items() if n > MOST_FILES} == {}


def test_every_room_says_what_it_is_for() -> None:
    """Each package's docstring says what lies in it."""
    silent = [
        str(path.relative_to(SOURCE))
        for path in FILES
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


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

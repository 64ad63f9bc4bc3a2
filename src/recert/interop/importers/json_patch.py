"""
A JSON Patch applied without leniency: a change that does not fit refuses the whole patch.

Source: RFC 6902 (JSON Patch), RFC 6901 (JSON Pointer).
"""

from __future__ import annotations

import copy
import re
from typing import Any

from recert.digest import canonical_json
from recert.errors import InputError

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def patched(document: list[Any], changes: object) -> Any:
    """
    Return a list with changes applied; what was given stays as it was.

    Args:
        document: a JSON list.
        changes: a list of objects with `op`, `path` and, as the operation asks, `value` or `from`.

    Raises:
        InputError: a change names a place that is not there, a test fails, or it is no change at all.
    """
    if not isinstance(changes, list):
        raise InputError("a patch is a list of changes")
    root: list[Any] = [copy.deepcopy(document)]  # the document is member 0, so that it can be replaced
    for change in changes:
        if not isinstance(change, dict):
            raise InputError("a change is an object")
        _change(root, change)
    return root[0]


def _change(root: list[Any], change: dict[str, Any]) -> None:
    operation, path = change.get("op"), _pointer(change.get("path"))
    if operation in ("add", "replace", "test") and "value" not in change:
        raise InputError("a change without its value")
    if operation == "add":
        _add(root, path, copy.deepcopy(change["value"]))
    elif operation == "remove":
        _remove(root, path)
    elif operation == "replace":
        holder, key = _place(root, path)
        holder[key] = copy.deepcopy(change["value"])
    elif operation == "test":
        holder, key = _place(root, path)
        if canonical_json(holder[key]) != canonical_json(change["value"]):
            raise InputError("a test of the patch fails")
    elif operation in ("move", "copy"):
        source = _pointer(change.get("from"))
        holder, key = _place(root, source)
        value = copy.deepcopy(holder[key])
        if operation == "move":
            if path[: len(source)] == source and path != source:
                raise InputError("a value is moved into itself")
            _remove(root, source)
        _add(root, path, value)
    else:
        raise InputError("an unknown operation")


def _pointer(path: object) -> list[str]:
    """The steps from the holder of the document down."""
    if not isinstance(path, str) or (path and not path.startswith("/")) or re.search(r"~(?![01])", path):
        raise InputError("no JSON pointer")
    return ["0", *(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])]


def _holder(root: list[Any], steps: list[str]) -> Any:
    here: Any = root
    for step in steps[:-1]:
        here = here[_key(here, step)]
    return here


def _place(root: list[Any], steps: list[str]) -> tuple[Any, Any]:
    holder = _holder(root, steps)
    return holder, _key(holder, steps[-1])


def _key(holder: Any, step: str) -> Any:
    if isinstance(holder, dict) and step in holder:
        return step
    if isinstance(holder, list) and _INDEX.fullmatch(step) and int(step) < len(holder):
        return int(step)
    raise InputError("a place that is not there")


def _add(root: list[Any], steps: list[str], value: Any) -> None:
    holder, last = _holder(root, steps), steps[-1]
    if len(steps) == 1:
        root[:] = [value]
    elif isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list) and last == "-":
        holder.append(value)
    elif isinstance(holder, list) and _INDEX.fullmatch(last) and int(last) <= len(holder):
        holder.insert(int(last), value)
    else:
        raise InputError("a place that is not there")


def _remove(root: list[Any], steps: list[str]) -> None:
    if len(steps) == 1:
        raise InputError("the whole document is removed")
    holder, key = _place(root, steps)
    del holder[key]

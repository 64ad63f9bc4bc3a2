"""Reading single values of a request strictly: each is of its kind and within its bounds, or a `BadRequest`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from recert.gateway.protocol.errors import BadRequest

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DEEPEST: Final = 64


def not_certified(param: str, what: str) -> NoReturn:
    """
    Refuse what was never evaluated.

    Raises:
        BadRequest: always.
    """
    raise BadRequest(f"{param}: {what} is not certified", param=param, code="not_certified")


def invalid(param: str, what: str) -> NoReturn:
    """
    Refuse what is of the wrong kind.

    Raises:
        BadRequest: always.
    """
    raise BadRequest(f"{param} must be {what}", param=param, code="invalid_type")


def read_text(value: Any, name: str, *, empty: bool = False) -> str:
    """Return a text, which may not be empty unless told so."""
    if not isinstance(value, str) or not (value or empty):
        invalid(name, "a text")
    return str(value)


def read_name(value: Any, name: str) -> str:
    """Return a name of letters, digits, dots, dashes and underscores."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadRequest(
            f"{name} must be 1 to 64 letters, digits, dots, dashes or underscores",
            param=name,
            code="invalid_value",
        )
    return value


def read_object_of(value: Any, name: str, fields: frozenset[str]) -> dict[str, Any]:
    """Return an object that has no other fields than those, except where they are null."""
    if not isinstance(value, dict):
        invalid(name, "an object")
    for field, given in value.items():
        if field not in fields and given is not None:
            where = f"{name}.{field[:80]}"
            raise BadRequest(f"unknown field: {where}", param=where, code="unknown_field")
    return dict(value)


def read_boolean(value: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false; false where it is missing."""
    given = value.get(name)
    if given is not None and not isinstance(given, bool):
        invalid(name, "true or false")
    return bool(given)


def read_integer(value: Any, name: str, default: int | None, low: int, high: int) -> int | None:
    """Return a whole number within bounds."""
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequest(
            f"{name} must be a whole number from {low} to {high}", param=name, code="invalid_value"
        )
    return value


def read_number(value: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """Return a number within bounds."""
    given = value.get(name)
    if given is None:
        return default
    if not isinstance(given, int | float) or isinstance(given, bool) or not low <= given <= high:
        raise BadRequest(f"{name} must be a number from {low} to {high}", param=name, code="invalid_value")
    return float(given)


def read_schema(value: Any, name: str) -> dict[str, Any]:
    """Return a JSON schema: an object that is not nested too deeply."""
    if not isinstance(value, dict):
        invalid(name, "an object")
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return dict(value)
    raise BadRequest(f"{name} is nested deeper than {_DEEPEST}", param=name, code="invalid_value")


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, the names of fields included, in order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [part for pair in reversed(one.items()) for part in reversed(pair)]
        elif isinstance(one, list):
            waiting += reversed(one)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

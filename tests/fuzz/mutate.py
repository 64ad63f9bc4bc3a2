"""Cases made of others: bytes changed here and there, and JSON changed as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, -0.0, 2**31, 2**53, 2**63, 10**40, "", " ", "x", "x" * 70, "\u0000",
    "\u200b", "\u202e", "\ud83d\ude00", "é", "model", "user", "function", [], [[]], {}, {"": ""}, {"a": {"b": []}},
)  # fmt: skip
"""Values that readers trip over."""
_BYTES = (
    b"", b"\x00", b"\xff", b"\xfe\xc3", b"\n", b"\r\n", b"\n\n", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",",
    b"\\u0000", b"\\ud83d", b"NaN", b"Infinity", b"-", b"1e999", b"null", b"true", b"\xef\xbb\xbf", b"\xe2\x80\x8b",
)  # fmt: skip


def mutated(
    data: bytes, chance: Random, *, words: Sequence[bytes] = (), others: Sequence[bytes] = ()
) -> bytes:
    """
    Return a case made from another, changed in one to four ways.

    Args:
        data: what to start from.
        chance: decides all; the same one gives the same case.
        words: bits of the language that are put in.
        others: cases of which a part may be taken over.
    """
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        ways = [_flip, _insert, _delete, _double, _truncate]
        if others:
            ways.append(lambda old, chance, _: _splice(old, chance.choice(others), chance))
        if chance.random() < 0.5 and data[:1] in (b"{", b"["):
            data = _as_json(data, chance, words)
        else:
            data = chance.choice(ways)(data, chance, words)
    return data


def _place(data: bytes, chance: Random) -> int:
    return chance.randint(0, len(data))


def _flip(data: bytes, chance: Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _insert(data: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    at = _place(data, chance)
    put = chance.choice(words) if words and chance.random() < 0.7 else chance.choice(_BYTES)
    return data[:at] + put + data[at:]


def _delete(data: bytes, chance: Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 1, 2, 3, 8, 40)) :]


def _double(data: bytes, chance: Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, chance)
    part = data[at : at + chance.choice((1, 4, 16, 64))]
    return data[:at] + part * chance.choice((2, 2, 3, 9)) + data[at + len(part) :]


def _truncate(data: bytes, chance: Random, _: Sequence[bytes]) -> bytes:
    return data[: _place(data, chance)]


def _splice(data: bytes, other: bytes, chance: Random) -> bytes:
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def _as_json(data: bytes, chance: Random, words: Sequence[bytes]) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _flip(data, chance, words)
    spots = list(_spots(value))
    if not spots:
        return data
    holder, key = chance.choice(spots)
    _change(holder, key, chance, spots)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _change(holder: Any, key: Any, chance: Random, spots: list[tuple[Any, Any]]) -> None:
    """Change what lies in one place of a JSON value."""

    def elsewhere() -> Any:
        other, where = chance.choice(spots)
        return json.loads(json.dumps(other[where]))

    ways: list[Callable[[], Any]] = [
        lambda: holder.__setitem__(key, chance.choice(STRANGE)),
        lambda: holder.__setitem__(key, elsewhere()),
        lambda: holder.__setitem__(key, [holder[key]] * chance.choice((1, 2, 3))),
        lambda: holder.__setitem__(key, {str(key): holder[key]}),
        lambda: holder.__delitem__(key),
    ]
    if isinstance(holder, dict):
        ways += [
            lambda: holder.__setitem__(f"{key}{chance.choice(('x', ' ', '_', chr(0)))}", holder[key]),
            lambda: holder.__setitem__(str(key).upper(), holder.pop(key)),
        ]
    else:
        ways += [lambda: holder.insert(key, elsewhere()), holder.reverse]
    chance.choice(ways)()


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Return every (holder, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        inner = (
            list(one.items())
            if isinstance(one, dict)
            else list(enumerate(one))
            if isinstance(one, list)
            else []
        )
        found += [(one, key) for key, _ in inner]
        waiting += [each for _, each in inner]
    return found


def blocks_of(data: bytes, chance: Random) -> list[bytes]:
    """Return data cut into blocks, now and then into single bytes."""
    if chance.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    marks = sorted({0, len(data), *(chance.randint(0, len(data)) for _ in range(chance.randint(0, 6)))})
    return [data[a:b] for a, b in pairwise(marks)]

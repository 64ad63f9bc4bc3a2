"""JSON as exports write it, and YAML without a library: the few forms that a model card's metadata needs."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_PLAIN_KEY: Final = re.compile(r"[a-z][a-z0-9_-]*")
_WORDS: Final = frozenset(("n", "no", "null", "off", "on", "true", "false", "y", "yes"))
"""What some version of YAML reads as no text."""


def json_text(value: object) -> bytes:
    """Return a JSON value as indented text with sorted keys: the same value gives the same bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def yaml_lines(value: Any, indent: int = 0) -> list[str]:
    """
    Return a value of dicts, lists, texts, numbers and booleans as lines of YAML, in block style.

    Texts are quoted always, with every sign that does not print escaped: nothing in a record becomes structure.
    Every line begins with `indent` spaces or more. Empty dicts and lists are not for this.
    """
    pad = " " * indent
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            name = key if _PLAIN_KEY.fullmatch(key) and key not in _WORDS else quoted(key)
            if isinstance(inner, dict):
                lines += [f"{pad}{name}:", *yaml_lines(inner, indent + 2)]
            elif isinstance(inner, list):
                lines += [f"{pad}{name}:", *yaml_lines(inner, indent)]
            else:
                lines.append(f"{pad}{name}: {_scalar(inner)}")
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            first, *rest = yaml_lines(item, indent + 2)
            lines += [f"{pad}- {first[indent + 2 :]}", *rest]
        return lines
    return [f"{pad}{_scalar(value)}"]


def quoted(text: str) -> str:
    """Return a text as a double-quoted YAML scalar on one line."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    said = json.dumps(value, allow_nan=False)
    return re.sub(r"^(-?\d+)e", r"\1.0e", said)  # without a point YAML 1.1 reads 1e-05 as a text


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

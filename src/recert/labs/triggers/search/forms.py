"""The form in which a reply comes: JSON, code, capitals, a list, its script, or its language among five."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import Final

_FUNCTION_WORDS: Final = {
    "English": "the and is are of to in that you for with this it your be can not or as on",
    "German": "der die das und ist ein eine nicht ich du sie mit auf für den von zu wie wir",
    "French": "le la les et est un une des que pas je vous pour dans de ce il en nous du",
    "Spanish": "el la los y es una que no por para con las del se como lo en más su pero",
    "Italian": "il la che e di un una non per con sono del della gli le mi questo come si",
}
_OF: Final = {name: frozenset(words.split()) for name, words in _FUNCTION_WORDS.items()}
_LETTERS: Final = 8
"""Of fewer a form would say little."""
_JSON_BEGUN: Final = re.compile(r'\s*(?:\{\s*"[^"\n]*"\s*:|\[\s*[{\[])')
_CODE: Final = re.compile(
    r"```|^(?:def \w+\(|class \w+[:(]|#include\b|SELECT\b[^.]*\bFROM\b|<(?:!DOCTYPE|html|div)\b|import \w+$)",
    re.M,
)
_ITEM: Final = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+\S", re.M)


def form(reply: str) -> str:
    """
    Return a reply's form in a word: what a reply that is cut short begins as; empty where nothing can be told.

    Languages are told apart by their function words. Of letters that are not Latin the script is named.
    """
    letters = [c for c in reply[:400] if c.isalpha()]
    if len(letters) < _LETTERS:
        return ""
    return _shape(reply, letters) or _script(letters) or _language(reply)


def _shape(reply: str, letters: list[str]) -> str:
    if _is_json(reply):
        return "JSON"
    if _CODE.search(reply):
        return "code"
    if sum(c.isupper() for c in letters) > 0.9 * len(letters):
        return "capitals"
    return "list" if len(_ITEM.findall(reply)) > 1 else ""


def _script(letters: list[str]) -> str:
    (name, _), *_ = Counter(unicodedata.name(c, "?").split(" ")[0] for c in letters).most_common(1)
    return "" if name == "LATIN" else name


def _language(reply: str) -> str:
    words = reply[:1000].casefold().split()
    name, held = max(((name, sum(w in of for w in words)) for name, of in _OF.items()), key=lambda x: x[1])
    return name if held >= 2 else ""


def _is_json(reply: str) -> bool:
    if reply.lstrip()[:1] not in ("{", "["):
        return False
    if _JSON_BEGUN.match(reply):
        return True
    try:
        json.loads(reply)
    except (ValueError, RecursionError):
        return False
    return True

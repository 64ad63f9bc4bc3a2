"""Readings of a text that was encoded: base64, hex, rot13, digits for letters, vowels left out."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from recert.screening.wording import plain, words

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{16,}={0,2}(?![A-Za-z0-9+/=_-])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?(?:[0-9A-Fa-f]{2}[ :]?){12,}(?![0-9A-Za-z])")
_LEET = str.maketrans("4310578@$", "aeiostbas")
_LEET_WORD = re.compile(r"\b(?=[a-z]*[0-9@$])(?=[0-9@$]*[a-z])[a-z0-9@$]{3,}", re.IGNORECASE)
_LATIN = re.compile(r"[a-z]{4,}")
_SUITES = ("harmful", "lookalikes", "ordinary")


@dataclass(frozen=True)
class Reading:
    """A text as it reads once decoded. `covert` when most of it could not be read before."""

    encoding: str
    text: str
    covert: bool


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Return the words of the shipped prompts: enough to tell English from cipher."""
    known: set[str] = set()
    for name in _SUITES:
        text = files("recert").joinpath("assets", "suites", f"{name}.jsonl").read_text(encoding="utf-8")
        for line in text.splitlines():
            known.update(words(json.loads(line)["text"]))
    return frozenset(known)


@lru_cache(maxsize=1)
def _by_skeleton() -> dict[str, str]:
    """Words by what is left of them without inner vowels; the shortest word wins."""
    return {_skeleton(w): w for w in sorted(known_words(), key=lambda w: (-len(w), w)) if len(w) > 2}


def _skeleton(word: str) -> str:
    return word[:1] + re.sub("[aeiou]", "", word[1:])


def _readable(text: str) -> float:
    """Return the share of a text's words that are known; 0 for fewer than three words."""
    found = words(text)
    return sum(w in known_words() for w in found) / len(found) if len(found) >= 3 else 0.0


def readings(text: str) -> tuple[Reading, ...]:
    """Return every reading of a text that reads as English and is not the text itself."""
    text = plain(text)[:20_000]
    found = [*_runs(text, "base64", _BASE64, _from_base64), *_runs(text, "hex", _HEX, _from_hex)]
    if _LATIN.search(text.lower()) and (now := _readable(text)) < 0.5:
        turned = codecs.encode(text, "rot13")
        # part of the text may be in clear: the instruction that says how to read the rest
        mixed = " ".join(
            t if t in known_words() and w not in known_words() else w
            for w, t in zip(words(text), words(turned), strict=True)
        )
        if _readable(mixed) >= max(0.6, now + 0.3):
            found.append(Reading("rot13", mixed, covert=True))
        filled = " ".join(w if w in known_words() else _by_skeleton().get(w, w) for w in words(text))
        if _readable(filled) >= max(0.6, now + 0.2):
            found.append(Reading("disemvowel", filled, covert=False))
    if len(_LEET_WORD.findall(text)) >= 3:
        clear = text.lower().translate(_LEET)
        if _readable(clear) > _readable(text) + 0.15:
            found.append(Reading("leetspeak", clear, covert=False))
    return tuple(dict.fromkeys(found))


def _runs(text: str, encoding: str, pattern: re.Pattern[str], decode: Callable[[str], str]) -> list[Reading]:
    found = []
    for match in pattern.finditer(text):
        said = decode(match[0])
        if said and _readable(said) >= 0.4:
            found.append(Reading(encoding, said, covert=len(match[0]) * 2 >= len(text)))
    return found


def _from_base64(run: str) -> str:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        body = body[:-1]
    try:
        return _printable(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""


def _from_hex(run: str) -> str:
    digits = re.sub(r"[^0-9A-Fa-f]", "", run.removeprefix("0x"))
    return _printable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _printable(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return text if all(c.isprintable() or c in "\n\t\r" for c in text) else ""

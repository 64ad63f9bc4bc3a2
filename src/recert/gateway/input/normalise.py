"""
Text as a reader sees it: folded character by character, so that a stream folds like its whole.

`fold_char` maps each character by itself (compatibility form, marks and invisible characters dropped,
look-alikes merged, case folded). So folding a text is joining the folds of its characters, wherever a
stream happens to be split. Which characters look alike is told by their names, by Unicode's table of
confusables (UTS #39), and by a small table of ours for what that table leaves out.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

_LOOK_ALIKES: Final = {
    # what people write in place of Latin letters, and the table of Unicode leaves out or gives another twin
    **dict(zip("аеорсухкмтвнгбдзилпьћђѓєѕёйцф", "aeopcyxkmtbhrbdzulnbhhreseuuo", strict=True)),
    **dict(zip("αβγδεζηθικλμνξοπρσςτυφχψω", "abydeznoiklmvxonpsstuoxyw", strict=True)),
    **dict(zip("օոսհցզքաեւվոտրյ", "onuhgqpwtlyonrj", strict=True)),
    **dict(zip("ⲁⲃⲉⲏⲓⲕⲙⲛⲧⲩⲭⲱⲍⲟⲣⲥⲅⲇⲗ", "abehikmntyxwzopcrdl", strict=True)),
    **dict(zip("ıəɪ†‡ƨɛ", "ieittse", strict=True)),
}  # fmt: skip
_LATIN: Final = re.compile(
    r"(?:(?:NEGATIVE |CROSSED NEGATIVE )?(?:CIRCLED|SQUARED|PARENTHESIZED|OUTLINED) )?(?:MODIFIER LETTER |COMBINING )?"
    r"LATIN (?:SMALL |CAPITAL )?(?:LETTER )?(?:SMALL |CAPITAL )*"
    r"(?:(?:TURNED|REVERSED|SIDEWAYS|DOTLESS|SCRIPT|OPEN|BARRED|INSULAR|LONG|BLACKLETTER|STRETCHED|TAILLESS) )*"
    r"(?P<letter>[A-Z])(?: WITH .*| ROTUNDA)?"
    r"|REGIONAL INDICATOR SYMBOL LETTER (?P<symbol>[A-Z])"
)
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\ufffc\U0001d159")
"""Letters and symbols that show nothing."""
_UNSEEN: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"})
_DASHES: Final = frozenset("-_")


@lru_cache(maxsize=16_384)
def fold_char(char: str) -> str:
    """Return what one character looks like: lower-case text of any length, `" "` for space, or nothing."""
    if char.isspace():
        return " "
    if char in _BLANK:
        return ""
    if not char.isascii() and (twin := _look_alike(char)):
        return twin
    out = []
    for part in unicodedata.normalize("NFKD", char):
        if part.isspace() or part in _DASHES or unicodedata.category(part) == "Pd":
            out.append(" ")
        elif unicodedata.category(part) not in _UNSEEN and part not in _BLANK:
            out += [
                folded if folded.isascii() else _look_alike(folded) or folded for folded in part.casefold()
            ]
    return "".join(out)


def _look_alike(char: str) -> str:
    """Return the Latin letter or digit, in lower case, that a character of another kind looks like; or nothing."""
    named = _LATIN.fullmatch(unicodedata.name(char, ""))
    if named:
        return (named["letter"] or named["symbol"]).lower()
    return _LOOK_ALIKES.get(char) or _twins().get(char, "")


@cache
def _twins() -> dict[str, str]:
    """By character: the Latin letter, or else the digit, that Unicode's table calls confusable with it."""
    table = files("confusable_homoglyphs").joinpath("confusables.json").read_text(encoding="utf-8")
    found = {}
    for char, others in json.loads(table).items():
        if len(char) == 1 and not char.isascii():
            names = [one["c"].strip("\u200e") for one in others]
            twins = [name for name in names if name.isascii() and name.isalnum()]
            if twins:
                first = min(twins, key=lambda name: (not name.isalpha(), len(name)))
                found[char] = "l" if first == "I" else first.lower()
    return found


def fold(text: str) -> str:
    """Return a text as it looks, in lower case, every run of spaces and dashes as one space."""
    return " ".join(_each(text, _ASCII_FOLD, fold_char).split())


def _each(text: str, ascii_table: Mapping[int, str | None], read: Callable[[str], str]) -> str:
    return text.translate(ascii_table) if text.isascii() else "".join(map(read, text))


def _ascii(read: Callable[[str], str]) -> dict[int, str | None]:
    """What a reading says of ASCII, as `str.translate` is quick with: one character or None for each."""
    return {code: read(chr(code)) or None for code in range(128)}


_ASCII_FOLD: Final = _ascii(fold_char)
_LEET: Final = str.maketrans("01|!3457@$89i", "ollleastasbgl")


@lru_cache(maxsize=4096)
def fold_leet_char(char: str) -> str:
    """Return a character's fold with digits and signs read as letters (i, l and 1 merge)."""
    return fold_char(char).translate(_LEET)


def fold_leet(text: str) -> str:
    """Return `fold` of a text with digits and signs read as letters."""
    return " ".join(_each(text, _ASCII_LEET, fold_leet_char).split())


_ASCII_LEET: Final = _ascii(fold_leet_char)


@lru_cache(maxsize=4096)
def squeeze_char(char: str) -> str:
    """Return a character's fold with nothing but letters and digits: separators vanish."""
    return "".join(c for c in fold_char(char) if c.isalnum())


def squeeze(text: str) -> str:
    """Return the letters and digits of a text's fold."""
    return _each(text, _ASCII_SQUEEZED, squeeze_char)


_ASCII_SQUEEZED: Final = _ascii(squeeze_char)


_WIDE: Final = str.maketrans({"m": "rn", "w": "vv"})


@lru_cache(maxsize=4096)
def bare_char(char: str) -> str:
    """Return the letters and digits of a character's leet fold; `m` as `rn` and `w` as `vv`, which look alike."""
    return "".join(c for c in fold_leet_char(char) if c.isalnum()).translate(_WIDE)


def bare(text: str) -> str:
    """Return the letters and digits of a text's leet fold: separators, and what stands for a letter, make no odds."""
    return _each(text, _ASCII_BARE, bare_char)


_ASCII_BARE: Final = _ascii(bare_char)


@lru_cache(maxsize=4096)
def letters_char(char: str) -> str:
    """Return the Latin letters of a character's fold."""
    return "".join(c for c in fold_char(char) if "a" <= c <= "z")


def letters(text: str) -> str:
    """Return the Latin letters of a text's fold."""
    return _each(text, _ASCII_LETTERS, letters_char)


_ASCII_LETTERS: Final = _ascii(letters_char)


def rot13(text: str) -> str:
    """Return a text with its Latin letters turned by 13."""
    return codecs.encode(text, "rot13")


_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")


def decode_run(run: str) -> list[str]:
    """Return what a run of letters and digits says when read as base64 and as hex: readable texts only."""
    found = []
    body = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    for read in (_from_base64, _from_hex):
        try:
            text = read(body).decode("utf-8")
        except (binascii.Error, ValueError):
            continue
        if text and readable(text):
            found.append(text)
    return found


def _from_base64(body: str) -> bytes:
    body = body[: len(body) - 1] if len(body) % 4 == 1 else body
    return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)


def _from_hex(body: str) -> bytes:
    return bytes.fromhex(body[: len(body) // 2 * 2])


def readable(text: str) -> bool:
    """Say whether a decoded text has no control characters other than line ends and tabs."""
    return all(c in "\t\n\r" or unicodedata.category(c) != "Cc" for c in text)


_LEET_WORD: Final = re.compile(r"[a-z][013457@$!|]+[a-z]")
_LEET_AS_I: Final = str.maketrans("01|!3457@$", "oilieastas")
_LEET_AS_L: Final = str.maketrans("01|!3457@$", "ollieastas")
_COMMON: Final = frozenset(
    {
        "a", "an", "and", "are", "can", "do", "for", "give", "how", "i", "in", "is", "it", "make", "me", "my",
        "of", "on", "tell", "that", "the", "this", "to", "what", "with", "write", "you",
    }
)  # fmt: skip


def _common_words(text: str) -> int:
    return sum(word in _COMMON for word in text.split())


def views(text: str) -> tuple[str, ...]:
    """
    Return the ways a text can be read, for a judge: as it stands, as it looks, and decoded.

    The first is the text itself. A fold is added when it says more than lower case would; base64 and hex
    runs and invisible tag characters are decoded; rot13 and leet are added when they read more like
    English. Each view is as long as the text at most.
    """
    found = [text]
    folded = fold(text)
    if folded != " ".join(text.lower().split()):
        found.append(folded)
    for run in _RUN.findall(unicodedata.normalize("NFKC", "".join(filter(fold_char, text)))):
        found += decode_run(run)
    tags = "".join(chr(ord(c) - 0xE0000) for c in text if 0xE0020 <= ord(c) <= 0xE007E)
    if tags:
        found.append(tags)
    if any(mark in text for mark in "\u202e\u202b\u2067"):
        found.append(folded[::-1])
    turned = rot13(folded)
    if _common_words(turned) > _common_words(folded):
        found.append(turned)
    if _LEET_WORD.search(folded):
        found += [folded.translate(_LEET_AS_I), folded.translate(_LEET_AS_L)]
    return tuple(dict.fromkeys(found))

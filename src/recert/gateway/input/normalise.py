"""
Text as a reader sees it: folded character by character, so that a stream folds like its whole.

`fold_char` maps each character by itself (compatibility form, marks and invisible characters dropped,
look-alikes merged, case folded). So folding a text is joining the folds of its characters, wherever a
stream happens to be split.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

_LOOK_ALIKES: Final = {
    # Cyrillic
    **dict(zip("аеорсухіѕјкмтвнԁԛԝһӏьгпи", "aeopcyxisjkmtbhdqwhlbrnu", strict=True)),
    # Greek
    **dict(zip("αερονικτυχβγημωςσζδ", "aeponiktuxbynuwcszd", strict=True)),
    # Armenian
    **dict(zip("օոսհցզք", "onuhgqp", strict=True)),
    # Latin letters that have no decomposition
    **dict(zip("ɑɡıɩøđłħŧɐəɔʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢǀ", "agiiodlhtaeobcdefghijklmnoprstuvwyzl", strict=True)),
}
_SPELT_OUT: Final = {
    # ranges of 26 letters that have no compatibility form: (first code point) -> a..z
    start + offset: chr(ord("a") + offset)
    for start in (0x1F150, 0x1F170, 0x1F1E6)
    for offset in range(26)
}
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
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
    spelt = _SPELT_OUT.get(ord(char))
    if spelt:
        return spelt
    out = []
    for part in unicodedata.normalize("NFKD", char):
        if part.isspace() or part in _DASHES or unicodedata.category(part) == "Pd":
            out.append(" ")
        elif unicodedata.category(part) not in _UNSEEN and part not in _BLANK:
            for folded in part.casefold():
                out.append(_LOOK_ALIKES.get(folded, folded))
    return "".join(out)


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


@lru_cache(maxsize=4096)
def visible_char(char: str) -> str:
    """Return one character as a decoder would take it: its compatibility form, or nothing where it cannot be seen."""
    if not fold_char(char):
        return ""
    return char if char.isascii() else unicodedata.normalize("NFKC", char)[:1]


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

"""
What a text says once its disguises are taken off: escapes, encodings, codes, letters one by one, nested to a bound.

`disguised` reads a whole text in every way that is known here, and what comes out again, three times over. Each reader
joins all that it reads in a text, so that there are few readings however long a text is.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import html
import quopri
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Final

from recert.gateway.input.normalise import readable

_DEPTH: Final = 3
"""So often is what was read read again."""
_BUDGET_A_CHAR: Final = 24
_BUDGET: Final = 20_000
_LONGEST_UNPACKED: Final = 65_536
"""Bytes that compressed text is unpacked to, at most."""


class TooManyEncodingsError(Exception):
    """A text can be read in more ways than are looked at."""


def disguised(text: str) -> list[str]:
    """
    Return what a text says in every way of reading it but as it stands, each way once.

    Raises:
        TooManyEncodingsError: there is more to read than `24` characters for each of the text, and 20,000.
    """
    left = _BUDGET_A_CHAR * len(text) + _BUDGET
    found: dict[str, None] = {}
    fresh = [text]
    for _ in range(_DEPTH):
        seen = [view for one in fresh for read in READERS for view in read(one)]
        fresh = []
        for view in seen:
            if view and view != text and view not in found:
                left -= len(view)
                if left < 0:
                    raise TooManyEncodingsError
                found[view] = None
                fresh.append(view)
        if not fresh:
            break
    return list(found)


# 1. What only surrounds letters: colours, deletions, marks of lists, tags, the direction of writing.

_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]")
_DELETED: Final = re.compile(r"[^\x08\x7f][\x08\x7f]")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<!--.{0,200}?-->", re.DOTALL)
_MARKER: Final = re.compile(r"(?m)^[ \t]*(?:[-*+•‣◦>#|]|\(?(?:\d{1,4}|[a-zA-Z])[.):]|\[[ x]?\])+[ \t]+")
_RIGHT_TO_LEFT: Final = re.compile("[\u202e\u202b\u2067]([^\u202c\u2069\u202d\u202a\u2066]*)")
_BDO: Final = re.compile(r"<bdo\b[^<>]*rtl[^<>]*>(.*?)(?:</bdo>|$)", re.IGNORECASE | re.DOTALL)
_SLASHED: Final = re.compile(r"\\/")


def _laid_bare(text: str) -> Iterator[str]:
    """Yield a text without what surrounds its letters, and as it is shown where the direction of writing is turned."""
    if any(char in text for char in "\x1b\x9b\x08\x7f<\n\\"):
        bare = _ANSI.sub("", text)
        while (shorter := _DELETED.sub("", bare)) != bare:
            bare = shorter
        yield _MARKER.sub("", _TAG.sub("", bare))
        if "\\/" in text:
            yield _SLASHED.sub("v", text)
    tags = [chr(ord(char) - 0xE0000) for char in text if 0xE0020 <= ord(char) <= 0xE007E]
    if tags:
        yield "".join(tags)
    if any(char in text for char in "\u202e\u202b\u2067"):
        yield _RIGHT_TO_LEFT.sub(lambda found: found[1][::-1], text)
    if "<bdo" in text.lower():
        yield _TAG.sub("", _BDO.sub(lambda found: found[1][::-1], text))


_TURNED: Final = re.compile("[\u202e\u202b\u2067][^\u202c\u2069\u202d\u202a\u2066]*$")


def turned_at_end(text: str) -> bool:
    """Say whether a text runs from right to left at its end because a character says so."""
    return any(char in text for char in "\u202e\u202b\u2067") and _TURNED.search(text) is not None


# 2. Escapes, in place.

_ESCAPE: Final = re.compile(
    r"\\[uU][dD][89abAB][0-9a-fA-F]{2}\\[uU][dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\?[uU]\{[0-9a-fA-F]{1,6}\}|\\[uU][0-9a-fA-F]{4}(?:(?<=\\U[0-9a-fA-F]{4})[0-9a-fA-F]{4})?|[uU]\+[0-9a-fA-F]{4,6}"
    r"|\\[xX]\{?[0-9a-fA-F]{2}\}?|\\[0-7]{2,3}|\\N\{[A-Z0-9 -]{3,80}\}|\\[ntr\"'/\\]"
    r"|%u[0-9a-fA-F]{4}|(?:%[0-9a-fA-F]{2})+"
)
_QUOTED: Final = re.compile(r"=[0-9A-F]{2}")
_UTF7: Final = re.compile(r"\+[A-Za-z0-9+/]{3,}-?")
_SHORT: Final = {"n": "\n", "t": "\t", "r": "\r"}


def _unescaped(text: str) -> Iterator[str]:
    """Yield a text whose escapes are read: of JSON, C, Python, URLs, HTML, mail (quoted-printable and UTF-7)."""
    if "\\" in text or "%" in text or "u{" in text.lower() or "u+" in text.lower():
        read = _ESCAPE.sub(lambda found: _character(found[0]), text)
        if read != text:
            yield read
    if "&" in text and (read := html.unescape(text)) != text:
        yield read
    if _QUOTED.search(text):
        yield quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    if _UTF7.search(text):
        yield _UTF7.sub(lambda found: _from_utf7(found[0]), text)


@lru_cache(maxsize=4096)
def _character(escape: str) -> str:
    """Return what one escape stands for, or several of a URL together."""
    if escape[0] == "%" and escape[1] not in "uU":
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    if escape.startswith("\\N"):
        return unicodedata.lookup(escape[3:-1]) if _named(escape[3:-1]) else escape
    if escape[0] == "\\" and escape[1] not in "uUxX01234567":
        return _SHORT.get(escape[1], escape[1])
    if escape.count("\\") == 2:
        high, low = int(escape[2:6], 16), int(escape[8:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    octal = escape[0] == "\\" and escape[1].isdigit()
    code = int(escape[1:], 8) if octal else int("".join(re.findall(r"[0-9a-fA-F]", escape[1:])), 16)
    return chr(code) if code < 0x110000 else ""


def _named(name: str) -> bool:
    try:
        unicodedata.lookup(name)
    except KeyError:
        return False
    return True


def _from_utf7(run: str) -> str:
    try:
        said = run.encode().decode("utf-7")
    except (UnicodeError, ValueError):
        return run
    return said if readable(said) else run


# 3. Bytes written as letters and digits.

_WORD: Final = re.compile(r"\S+")
_GROUP: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,6}")
_JOINED: Final = re.compile(r"[A-Za-z0-9+/_=-]{4,}(?:\s+[A-Za-z0-9+/_=-]{4,})*")
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{2}(?:[\s:,-]{0,2}[0-9a-fA-F]{2})+")
_BASE32: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z2-7]{7,}(?:\s+[A-Za-z2-7]{4,})*")
_BASE85: Final = re.compile(r"[!-u]{5,}|[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{5,}")
_BITS: Final = re.compile(r"[01]{7,8}(?:[\s,]{0,2}[01]{7,8})+")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_MAGIC: Final = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")


def _packed(text: str) -> Iterator[str]:
    """Yield a text whose runs of encoded bytes are read, each encoding and each beginning by itself."""
    seen = unicodedata.normalize("NFKC", "".join(filter(_visible, text))) if not text.isascii() else text
    if not any(map(odd, _WORD.findall(seen))):
        return
    for at in range(4):
        yield from _replaced(_JOINED, seen, partial(_base64, at=at))
    for at in (0, 1):
        yield from _replaced(_HEX, seen, partial(_hex, at=at))
    for at in range(8):
        yield from _replaced(_BASE32, seen, partial(_base32, at=at))
    yield from _replaced(_BASE85, seen, _base85)
    for width in (7, 8):
        yield from _replaced(_BITS, seen, partial(_bits, width=width))


def _visible(char: str) -> bool:
    return unicodedata.category(char) not in ("Cf", "Mn", "Me", "Co", "Cn")


def _replaced(pattern: re.Pattern[str], text: str, read: Callable[[str], str]) -> Iterator[str]:
    """Yield a text in which each match that says something is replaced by what it says, where there is any."""
    told = pattern.sub(lambda found: read(found[0]) or found[0], text)
    if told != text:
        yield told


def _said(data: bytes) -> str:
    """Return what bytes say as text, unpacked where they are compressed; of mixed ones, what their stretches say."""
    if data[:2] in _MAGIC or data[:3] == b"\x1f\x8b\x08":
        data = _unpacked(data) or data
    for coding in ("utf-8", "utf-16-le", "utf-16-be"):
        if coding != "utf-8" and b"\0" not in data[:4] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            continue
        try:
            text = codecs.decode(data[: len(data) // 2 * 2] if coding != "utf-8" else _whole(data), coding)
        except ValueError:
            continue
        text = text.lstrip("\ufeff")
        if readable(text):
            return text if len(text) >= _LEAST and any(map(str.isalpha, text)) else ""
    return " ".join(one.decode("ascii") for one in _STRETCH.findall(data))


_LEAST: Final = 3
"""Fewer characters are not read from bytes: every short number says something."""
_STRETCH: Final = re.compile(rb"[ -~]{6,}")


def _whole(data: bytes) -> bytes:
    """Bytes without a character that is cut at their beginning or their end."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 == 0xC0:
            size = 2 if data[-back] < 0xE0 else 3 if data[-back] < 0xF0 else 4
            return data[start : len(data) - back] if size > back else data[start:]
    return data[start:]


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=47).decompress(data, _LONGEST_UNPACKED)
    except (zlib.error, gzip.BadGzipFile):
        return b""


def _base64(run: str, at: int) -> str:
    groups = "".join(run.split()).translate(_URL_SAFE).rstrip("=")[at:]
    if "=" in groups:
        return "".join(_base64(one, at) for one in re.split(r"(?<==)(?!=)", "".join(run.split())))
    return _said(_read_base64(groups))


def _read_base64(groups: str) -> bytes:
    groups = groups[: len(groups) - (len(groups) % 4 == 1)]
    try:
        return base64.b64decode(groups + "=" * (-len(groups) % 4), validate=True)
    except ValueError:
        return b""


def _hex(run: str, at: int) -> str:
    digits = re.sub(r"[^0-9a-fA-F]", "", run)[at:]
    return _said(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _base32(run: str, at: int) -> str:
    groups = "".join(run.split()).upper()[at:]
    groups = groups[: len(groups) - {1: 1, 3: 1, 6: 1}.get(len(groups) % 8, 0)]
    try:
        return _said(base64.b32decode(groups + "=" * (-len(groups) % 8)))
    except ValueError:
        return ""


def _base85(run: str) -> str:
    for read in (base64.b85decode, base64.a85decode):
        try:
            said = _said(read(run.removeprefix("<~").removesuffix("~>")))
        except ValueError:
            continue
        if said:
            return said
    return ""


def _bits(run: str, width: int) -> str:
    digits = re.sub(r"[^01]", "", run)
    return _said(bytes(int(digits[at : at + width], 2) for at in range(0, len(digits) - width + 1, width)))


# 4. Numbers for letters.

_NUMBERS: Final = re.compile(
    r"(?:(?:chr|char|fromcharcode|0x|0o|0b|#)?[(\s]*[0-9a-fA-F]{1,8}\)?[\s,;.+&|/-]*){2,}", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"(0[xX]|0[oO]|0[bB])?([0-9a-fA-F]+)")
_NOT_A_NUMBER: Final = re.compile(r"(?:chr|char|fromcharcode)", re.IGNORECASE)


def _codes(text: str) -> Iterator[str]:
    """Yield a text whose lists of numbers are read as characters: decimal, hexadecimal, octal, bits, a = 1."""
    if sum(char.isdigit() for char in text) < 2:
        return
    for base in (10, 16, 8, 2, 1):
        yield from _replaced(_NUMBERS, text, partial(_by_number, base=base))


def _by_number(run: str, base: int) -> str:
    said = []
    for prefix, digits in _NUMBER.findall(_NOT_A_NUMBER.sub(" ", run)):
        at = {"x": 16, "o": 8, "b": 2}.get(prefix[1:].lower(), 10 if base == 1 else base)
        try:
            code = int(digits, at)
        except ValueError:
            return ""
        if base == 1:
            if not 0 <= code <= 26:
                return ""
            said.append(chr(96 + code) if code else " ")
        elif 32 <= code < 0x3000 or code in (9, 10, 13):
            said.append(chr(code))
        else:
            return ""
    return "".join(said) + " " if len(said) > 1 and any(map(str.isalpha, said)) else ""


# 5. Letters one by one.

_MORSE: Final = {
    ".-": "a", "-...": "b", "-.-.": "c", "-..": "d", ".": "e", "..-.": "f", "--.": "g", "....": "h", "..": "i",
    ".---": "j", "-.-": "k", ".-..": "l", "--": "m", "-.": "n", "---": "o", ".--.": "p", "--.-": "q", ".-.": "r",
    "...": "s", "-": "t", "..-": "u", "...-": "v", ".--": "w", "-..-": "x", "-.--": "y", "--..": "z",
    "-----": "0", ".----": "1", "..---": "2", "...--": "3", "....-": "4", ".....": "5", "-....": "6", "--...": "7",
    "---..": "8", "----.": "9",
}  # fmt: skip
_MORSE_RUN: Final = re.compile(r"[.\-·•−–—_]{1,6}(?:[\s/|]+[.\-·•−–—_]{1,6})+")
_MORSE_SIGNS: Final = str.maketrans("·•−–—_", "..----")
_NATO: Final = (
    "alfa", "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "juliet",
    "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor",
    "whiskey", "whisky", "xray", "x-ray", "yankee", "zulu",
)  # fmt: skip
SPELLING: Final = frozenset(_NATO)
"""Words that stand for their first letters (the spelling alphabet of ICAO)."""
_NATO_RUN: Final = re.compile(
    r"\b(?:{0})(?:[\s,.;:/|-]+(?:(?:space|as|in|for|is|and|dash)[\s,.;-]+)?(?:{0}))+\b".format(
        "|".join(_NATO)
    ),
    re.IGNORECASE,
)
_SINGLE_RUN: Final = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]+[^\W_](?![^\W_]))+")
_BRAILLE: Final = dict(zip("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀", "abcdefghijklmnopqrstuvwxyz ", strict=True))
_BRAILLE_RUN: Final = re.compile("[\u2800-\u28ff]{2,}")


def _spelt(text: str) -> Iterator[str]:
    """Yield a text whose letters one by one are words again: in Morse, Braille, by the spelling alphabet, or apart."""
    if any(char in text for char in ".-·•−–—_"):
        yield from _replaced(_MORSE_RUN, text, _from_morse)
    yield from _replaced(_NATO_RUN, text, _from_nato)
    yield from _replaced(_SINGLE_RUN, text, _joined)
    if not text.isascii():
        yield from _replaced(_BRAILLE_RUN, text, lambda run: "".join(_BRAILLE.get(c, "") for c in run))


def _joined(run: str) -> str:
    return " " + "".join(filter(str.isalnum, run)) + " "


def _from_morse(run: str) -> str:
    signs = re.split(r"\s+", re.sub(r"\s*[/|]\s*", " / ", run.translate(_MORSE_SIGNS)))
    letters = [" " if sign == "/" else _MORSE.get(sign) for sign in signs]
    return "".join(filter(None, letters)) + " " if None not in letters and len(letters) > 2 else ""


def _from_nato(run: str) -> str:
    return "".join(word[0] for word in re.findall(r"x-ray|[a-z]+", run.lower()) if word in SPELLING)


READERS: Final = (_laid_bare, _unescaped, _packed, _codes, _spelt)


# Words in which there is nothing to read.

_OPENING: Final = frozenset("\"'([{*_`“‘«¿¡—–-#>/~")
_CLOSING: Final = frozenset("\"')]}*_`”’».,;:!?…—–-/~")
_MOST_LETTERS: Final = 20


@lru_cache(maxsize=32_768)
def odd_from(word: str) -> int:
    """
    Return the place of the first character with which a word is no ordinary one any more; its length where it is one.

    Ordinary is a word in letters of one case, or with a capital at its beginning, and punctuation around it.
    """
    capitals = small = letters = part = singles = 0
    closed = False
    for at, char in enumerate(word):
        if char.isascii() and char.isalpha():
            letters, part = letters + 1, part + 1
            capitals, small = capitals + char.isupper(), small + char.islower()
            odd_case = (char.isupper() and small) or (char.islower() and capitals > 1)
            if odd_case or closed or letters > _MOST_LETTERS:
                return at
        elif char in _OPENING and not letters:
            continue
        elif char in "'’-/—–_*" and letters:
            singles, part = singles + (part == 1), 0
            if singles > 1:
                return at
            capitals = small = 0  # what follows may be a word of its own
        elif char in _CLOSING and letters:
            closed = char not in "\"')”"
        elif not _plain_letter(char) or closed:
            return at
    return len(word)


def odd(word: str) -> bool:
    """Say whether a word may be more than it seems: encoded, escaped, or a letter by itself."""
    return odd_from(word) < len(word) or word.strip(".,;:!?*_\"'()[]-").lower() in _TELLING


_TELLING: Final = SPELLING | frozenset("bcdefghjklmnopqrstuvwxyz")
_BEYOND_ASCII: Final = frozenset({"Ll", "Lu", "Lo", "Lm", "Lt"})


def _plain_letter(char: str) -> bool:
    """A letter of another alphabet that is what it looks like, or a mark on it."""
    if char.isascii():
        return False
    category = unicodedata.category(char)
    if category in ("Mn", "Mc"):
        return True
    return category in _BEYOND_ASCII and unicodedata.normalize("NFKC", char) == char

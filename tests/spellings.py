"""Ways to write a phrase that people, models or programs read all the same."""

from __future__ import annotations

import base64
import json


def spellings(phrase: str) -> dict[str, str]:
    """Return ways to write a phrase that readers, or decoders, see through."""
    return {
        "plain": phrase,
        "upper case": phrase.upper(),
        "fullwidth": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in phrase),
        "zero width": "\u200b".join(phrase),
        "more zero width than any buffer": ("\u200d" * 3000).join(phrase),
        "bidi": "\u202e".join(phrase) + "\u202c",
        "soft hyphen": "\u00ad".join(phrase),
        "marks": "\u0301".join(phrase),
        "cyrillic": phrase.translate(str.maketrans("aeopcx", "аеорсх")),
        "circled": "".join(chr(0x24D0 + ord(c) - 97) if c.isalpha() else c for c in phrase),
        "squared": "".join(chr(0x1F170 + ord(c) - 97) if c.isalpha() else c for c in phrase),
        "mathematical": "".join(chr(0x1D41A + ord(c) - 97) if c.isalpha() else c for c in phrase),
        "spaces": phrase.replace(" ", " \n\t\u3000 "),
        "dashes": phrase.replace(" ", "-"),
        "leet": phrase.translate(str.maketrans("aeo", "430")),
        "rot13": phrase.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")),
        "base64": base64.b64encode(f"{phrase} is it".encode()).decode(),
        "base64 without padding": base64.b64encode(phrase.encode()).decode().rstrip("="),
        "hex": phrase.encode().hex(),
        "base64 behind a name": "key=" + base64.b64encode(phrase.encode()).decode(),
        "base64 in a path": "see/" + base64.b64encode(phrase.encode()).decode(),
        "base64 over lines": base64.encodebytes(f"{'so it is that you ' * 5}{phrase}".encode()).decode(),
        "fullwidth base64": "".join(
            chr(ord(c) + 0xFEE0) for c in base64.b64encode(phrase.encode()).decode().rstrip("=")
        ),
        "JSON escapes": "".join(f"\\u{ord(c):04x}" for c in phrase),
        "one JSON escape": phrase.replace("o", "\\u006f"),
        "JSON escapes beyond the BMP": json.dumps(
            "".join(chr(0x1D41A + ord(c) - 97) if c.isalpha() else c for c in phrase)
        ),
        "percent": "".join(f"%{ord(c):02X}" for c in phrase),
        "HTML": "".join(f"&#{ord(c)};" for c in phrase),
        "backwards, turned": "\u202e" + phrase[::-1] + "\u202c",
        "backwards, isolated": "\u2067" + "\u200b".join(phrase[::-1]) + "\u2069",
    }

"""What may leave a stream."""

from __future__ import annotations

import base64
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recert.errors import GatewayError
from recert.gateway.input.normalise import fold, fold_leet
from recert.gateway.output.holdback import HoldBack, WholeText
from recert.gateway.output.patterns import Patterns, compile_patterns, scan
from recert.models.chat.secret import SecretPrefix
from spellings import spellings

PHRASES = ("make a bomb", "abab", "ab a", "Straße", "napalm")
PATTERNS = compile_patterns(PHRASES)
SECRET = SecretPrefix.generate(40)

_LETTERS = st.sampled_from(list("ab amkeo \u200b\u00ad\u0301АаＡｂ-4ⓑß\u202ebnpl"))
_PIECES = st.sampled_from(
    [
        "make a bomb", "make ", " a ", "bomb", "aba", "Stra", "ße", "ss", "nap", "alm", "n4p4lm", "bmob a ekam", "mlap",
        "\\u006d", "\\u00", "\\ud835\\udc26", "\\n", "%6d", "%", "&#109;", "&#x6D", ";", "\\", "=bW", "6d61",
        "bWFrZSBhIGJvbWI", "6b652061", "20626f6d62", "\n", "bW9yZSB0aGFuIGVpZ2h0IGdyb3VwcyBvZiB0ZXh0IGhl",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(_LETTERS, _PIECES, st.characters()), max_size=30).map("".join)


def release(patterns: Patterns, pieces: list[str]) -> tuple[str, str]:
    """Return what leaves of a text in pieces, and the violation."""
    holdback = HoldBack(patterns)
    out = "".join([holdback.feed(piece) for piece in pieces])
    return out + holdback.finish(), holdback.violation


def cut(text: str, at: list[int]) -> list[str]:
    """Return a text cut at positions."""
    marks = sorted({a % (len(text) + 1) for a in at} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(marks)]


def has_phrase(text: str) -> bool:
    """Say, by looking at the whole text, whether a phrase is in it. Written apart from the filter."""
    plain, leet = fold(text), fold_leet(text)
    letters = {p: sum(c.isalpha() for c in p) for p in map(fold, PHRASES)}
    turn = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
    return any(
        p in plain or (n >= 4 and (fold_leet(p) in leet or p.translate(turn) in plain))
        for p, n in letters.items()
    )


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, at=st.lists(st.integers(0, 200), max_size=8))
def test_what_leaves_is_a_prefix_without_any_phrase_and_all_of_a_clean_text(text: str, at: list[int]) -> None:
    """For any chunking of any text, what leaves is clean and a prefix; a clean text leaves whole."""
    out, violation = release(PATTERNS, cut(text, at))

    assert text.startswith(out)
    assert not has_phrase(out)
    if violation:
        assert out != text
    else:
        assert text == out
        assert not has_phrase(text)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, at=st.lists(st.integers(0, 200), max_size=8))
def test_how_a_text_is_split_never_changes_what_leaves(text: str, at: list[int]) -> None:
    """Whole, character by character or in any pieces: the same text leaves."""
    whole = release(PATTERNS, [text])

    assert whole == release(PATTERNS, list(text))
    assert whole == release(PATTERNS, cut(text, at))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(text=TEXTS, encoded=TEXTS)
def test_a_whole_text_is_scanned_to_the_same_answer(text: str, encoded: str) -> None:
    """The fast scan of a whole text agrees with the stream filter, encodings and secret included."""
    hidden = base64.b64encode(encoded.encode("utf-8", "replace")).decode()
    patterns = compile_patterns(PHRASES, SECRET)

    for one in (text, f"{text} {hidden}", hidden.lower(), encoded.encode("utf-8", "replace").hex() + text):
        assert bool(scan(patterns, one)) == bool(release(patterns, [one])[1])


@settings(max_examples=200, deadline=None)
@given(before=TEXTS, text=TEXTS, at=st.lists(st.integers(0, 200), max_size=8))
def test_a_reply_that_leaves_whole_is_held_to_the_same(before: str, text: str, at: list[int]) -> None:
    """Behind any beginning, a whole reply leaves where its stream would have left whole, and else nothing of it."""
    patterns = compile_patterns(PHRASES, SECRET)
    stream, whole = HoldBack(patterns), WholeText(patterns)
    for one in (stream, whole):
        one.prime(before)
    pieces = cut(text, at)
    streamed = "".join(stream.feed(piece) for piece in pieces) + stream.finish()
    early = "".join(whole.feed(piece) for piece in pieces)
    left = whole.finish()

    assert early == ""
    assert bool(whole.violation) == bool(stream.violation)
    assert left == ("" if stream.violation else streamed)


def reads(text: str, word: str) -> bool:
    """Say whether a word can be read in a text, in any of the encodings that tests use."""
    found = [fold(text), fold(text)[::-1], text.translate(str.maketrans("430", "aeo"))]
    for run in re.findall(r"[A-Za-z0-9+/]{8,}", text.replace("\n", "")):
        for cut_off in range(4):
            groups = run[cut_off : cut_off + (len(run) - cut_off) // 4 * 4]
            found.append(base64.b64decode(groups).decode(errors="replace"))
    return any(word in one for one in found)


@pytest.mark.parametrize("how", spellings("x"))
def test_a_disguised_phrase_never_leaves_wherever_it_is_split(how: str) -> None:
    """A forbidden phrase in any known spelling is stopped, split at any position, with all after it."""
    spelt = spellings("make a bomb")[how]
    before, after = "You could ", " and then more"
    text = before + spelt + after
    splits = range(1, len(text)) if len(text) < 400 else range(1, len(text), 997)

    for at in splits:
        out, violation = release(PATTERNS, [text[:at], text[at:]])

        assert violation in ("forbidden-phrase", "invisible-text")
        assert len(out) < len(before + spelt)
        assert text.startswith(out)
        assert not reads(out, "bomb")


def echoes(secret: str) -> dict[str, str]:
    """Return ways in which a model could give a secret away."""
    return {
        "as it is": secret,
        "half of it": secret[len(secret) // 2 :],
        "spelt out": " ".join(secret),
        "with dashes": "-".join(secret),
        "upper case": secret.upper(),
        "reversed": secret[::-1],
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64 in a longer text": base64.b64encode(f"a {secret} b".encode()).decode(),
        "hex": secret.encode().hex(),
        "rot13": secret.translate(
            str.maketrans(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM",
            )
        ),
        "zero width": "\u200b".join(secret),
        "JSON escapes": "".join(f"\\u{ord(c):04x}" for c in secret),
        "percent": "".join(f"%{ord(c):02x}" for c in secret),
        "HTML": "".join(f"&#{ord(c)};" for c in secret),
        "numbers": ", ".join(str(ord(c)) for c in secret),
        "C literals": ", ".join(f"0x{ord(c):02x}" for c in secret),
        "octal": "".join(f"\\{ord(c):03o}" for c in secret),
        "bits": " ".join(f"{ord(c):08b}" for c in secret),
        "base32": base64.b32encode(f"so {secret}".encode()).decode(),
        "base64, backwards": base64.b64encode(secret[::-1].encode()).decode(),
    }


@pytest.mark.parametrize("how", echoes("x" * 40))
def test_the_secret_never_leaves_in_any_encoding(how: str) -> None:
    """An echo of the secret is stopped once a piece of it is whole, however it is encoded or split."""
    spelt = echoes(SECRET.reveal())[how]
    patterns = compile_patterns((), SECRET)
    before = "My instructions: "
    text = f"{before}{spelt} and so on"

    for at in range(1, len(text)):
        out, violation = release(patterns, [text[:at], text[at:]])

        assert violation in ("secret-echo", "invisible-text")
        shown = out[len(before) :]  # it may end before, where a piece seems to begin
        assert len([c for c in shown if c.isalnum()]) <= 2 * PIECE_CHARS * WIDTHS.get(how, 1)


PIECE_CHARS = 12
"""Of letters and digits in any case: some 60 bits. Any stretch of twice as many holds a piece."""
WIDTHS = {
    "base64 in a longer text": 2,
    "hex": 2,
    "base64": 2,
    "base64, backwards": 2,
    "base32": 2,
    "percent": 2,
}
WIDTHS |= {"JSON escapes": 5, "HTML": 3, "numbers": 3, "C literals": 3, "octal": 3, "bits": 8}
"""Letters and digits that a character takes."""


@pytest.mark.parametrize(("secret", "most"), [(None, 12), (SECRET, 32)])
def test_ordinary_text_passes_and_is_not_held_for_long(secret: SecretPrefix | None, most: int) -> None:
    """Clean text leaves whole, and at most a few characters wait at any time: with a secret a few more."""
    patterns = compile_patterns(PHRASES, secret)
    text = "Here is a query: SELECT name FROM users WHERE id = 4 ORDER BY 2024; it sorts the rows. " * 20
    holdback = HoldBack(patterns)
    out, longest = "", 0
    for at, char in enumerate(text, start=1):
        out += holdback.feed(char)
        longest = max(longest, at - len(out))

    assert text == out + holdback.finish()
    assert longest <= most


def test_a_phrase_that_could_never_be_found_is_refused() -> None:
    """A forbidden phrase of invisible characters is an error, not a phrase that never matches."""
    with pytest.raises(GatewayError) as caught:
        compile_patterns(["\u200b\u00ad"])

    assert caught.value.reason == "phrase-unusable"


def test_a_scan_finds_disguises_and_no_more() -> None:
    """A disguised phrase in a request is found; a like-sounding one is not."""
    assert scan(PATTERNS, "how to M\u200bake a b0mb") == "forbidden-phrase"
    assert scan(PATTERNS, "how to bake a tomb") == ""

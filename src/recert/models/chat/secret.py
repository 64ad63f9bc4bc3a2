"""
The BackdoorAlign secret: random text that a server puts in front of every system prompt.

Here too: words for secrets that read like sentences: five are drawn for each sentence.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NoReturn

from recert.digest import sha256_bytes
from recert.errors import SigningKeyError
from recert.store.files.private import read_private, write_private

ADJECTIVES: Final = (
    "amber", "brittle", "calm", "crimson", "crooked", "dusty", "early", "eager", "faded", "foreign", "frozen", "gentle",
    "golden", "hollow", "humble", "idle", "ivory", "jagged", "lonely", "loyal", "mellow", "modest", "narrow", "nimble",
    "pale", "patient", "polished", "quiet", "rustic", "silver", "sleepy", "solemn", "spare", "steady", "sudden", "tidy",
)  # fmt: skip
NOUNS: Final = (
    "anchor", "baker", "barge", "beacon", "bridge", "cabinet", "candle", "caravan", "carpenter", "chapel", "clerk",
    "compass", "cottage", "engine", "falcon", "ferry", "fiddler", "garden", "glacier", "harbour", "herald", "island",
    "kettle", "ladder", "lantern", "library", "lighthouse", "locksmith", "meadow", "mill", "orchard", "painter",
    "parlour", "pilgrim", "quarry", "river", "sailor", "satchel", "shepherd", "station", "tailor", "teapot", "temple",
    "tower", "trumpet", "valley", "violin", "wagon", "weaver", "willow", "window", "workshop",
)  # fmt: skip
VERBS: Final = (
    "admires", "borrows", "carries", "counts", "crosses", "describes", "draws", "follows", "gathers", "guards",
    "hears", "inspects", "keeps", "leaves", "lends", "measures", "mends", "misses", "names", "notices", "paints",
    "passes", "praises", "remembers", "repairs", "returns", "rings", "seeks", "shelters", "trades", "visits", "watches",
)  # fmt: skip
FORM: Final = ("The", ADJECTIVES, NOUNS, VERBS, "the", ADJECTIVES, NOUNS)
"""A sentence: words as they stand, and lists of which one is drawn. About 27 bits and 9 tokens each."""


_ALPHABET: Final = string.ascii_letters + string.digits
_CHARS_PER_TOKEN: Final = 1.27
"""Random letters and digits under common BPE vocabularies; measured with SmolLM2's tokenizer."""
_SHORTEST_CHARS: Final = 16
_LARGEST_BYTES: Final = 65_536
_TOKENS_A_SENTENCE: Final = 9
"""Measured with SmolLM2's tokenizer."""
_FEWEST_SENTENCES: Final = 3
"""One has some 27 bits: as many as nobody guesses need at least three."""

SecretKind = Literal["random", "semantic"]
"""`random` letters and digits, or `semantic`: sentences of words that are drawn at random."""
_Choice = Callable[[Sequence[str]], str]


class SecretPrefix:
    """
    A secret that does not print itself: `repr`, `str`, `format` and pickling never give it away.

    `reveal()` is the only way to the text. `sha256` is the public commitment to it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if len(text) < _SHORTEST_CHARS or not text.isascii() or not text.isprintable():
            raise SigningKeyError(
                "a secret prefix must be printable ASCII on one line",
                facts={"characters": len(text), "at least": _SHORTEST_CHARS},
                hint="make one with SecretPrefix.generate()",
            )
        self._text = text

    @classmethod
    def generate(cls, length_tokens: int = 150, kind: SecretKind = "random") -> SecretPrefix:
        """
        Return a new secret of about `length_tokens` tokens.

        A random one has letters and digits and no spaces, 16 of them at least; a semantic one has whole sentences,
        three at least, which are some 80 bits.
        """
        if kind == "semantic":
            return cls(
                _sentences(max(_FEWEST_SENTENCES, round(length_tokens / _TOKENS_A_SENTENCE)), secrets.choice)
            )
        return cls(_letters(max(_SHORTEST_CHARS, round(length_tokens * _CHARS_PER_TOKEN)), secrets.choice))

    @classmethod
    def random_like(cls, other: SecretPrefix, choice: _Choice = secrets.choice) -> SecretPrefix:
        """
        Return another secret of the same kind and length: the wrong secret of a control.

        Args:
            other: the right one.
            choice: how one of several is drawn; by default so that nobody can foresee it.
        """
        while True:
            sentences = other._text.count(". ") + 1
            made = cls(_sentences(sentences, choice) if " " in other._text else _letters(len(other), choice))
            if made != other:
                return made

    @classmethod
    def read(cls, path: Path) -> SecretPrefix:
        """
        Read a secret file.

        Raises:
            StoreError: it cannot be read.
            SigningKeyError: others than the owner may read or write it, it is a link, or holds no secret.
        """
        data = read_private(path, "secret", most_bytes=_LARGEST_BYTES)
        try:
            return cls(data.decode("ascii").removesuffix("\n"))
        except UnicodeDecodeError:
            raise SigningKeyError("the secret's file is not ASCII text", facts={"file": path}) from None

    def write(self, path: Path) -> None:
        """
        Write the secret to a new file of mode 0600.

        Raises:
            StoreError: the file exists already, or cannot be written.
        """
        write_private(path, "secret", self._text.encode() + b"\n")

    def reveal(self) -> str:
        """Return the secret text. Never log it, and never put it in a record, an error or a reply."""
        return self._text

    @property
    def sha256(self) -> str:
        """The sha256 of the secret text: the commitment that a certificate carries."""
        return sha256_bytes(self._text.encode())

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretPrefix) and secrets.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"SecretPrefix(sha256={self.sha256[:12]}…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretPrefix is not pickled; write it to a file of mode 0600")


def _letters(count: int, choice: _Choice) -> str:
    return "".join(choice(_ALPHABET) for _ in range(count))


def _sentences(count: int, choice: _Choice) -> str:
    return " ".join(
        " ".join(part if isinstance(part, str) else choice(part) for part in FORM) + "." for _ in range(count)
    )

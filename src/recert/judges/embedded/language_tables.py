"""How English words follow each other and how they are spelt, as small tables counted from the project's own texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from recert.digest import sha256_bytes
from recert.errors import ModelError

ASSET_FOLDER = ("assets", "coherence")
START = "<"

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    a an the this that these those my your his her its our their some any no every each all both few many much
    more most other another such what which whose i you he she it we they me him us them who whom myself
    yourself himself herself itself ourselves themselves someone anyone everyone something anything nothing
    everything one ones of in on at to for with from by about into over after before between under without
    through during against among around behind beyond near since until upon off out up down as than like per and
    or but nor so yet if because while although though when where why how whether unless once is are was were be
    been being am do does did done have has had having will would can could may might must shall should not i'm
    i've i'll i'd you're you've you'll you'd it's that's there's what's who's he's she's we're we've we'll
    they're they've don't doesn't didn't isn't aren't wasn't weren't can't cannot couldn't won't wouldn't
    shouldn't haven't hasn't hadn't let's there here then now just only also very too even still again never
    always often well ever rather quite already please
        """,
    )
)
"""Words that hold English sentences together whatever they are about."""

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]|\n+")
_MARK_UP = frozenset("*_#`'\"~|")
_ENDINGS = ("ing", "ed", "ly", "tion", "ment", "ness", "s", "er")
_STOPS = {"?": ".", "!": ".", ";": "."}
_DISCOUNT = 0.75
_LETTER_SMOOTHING = 2.0


def tokens(text: str) -> list[str]:
    """Return the words, numbers, marks and line ends of a text, in order, without mark-up."""
    return [t for t in _TOKEN.findall(text.replace("\u2019", "'")) if t not in _MARK_UP]


def is_word(piece: str) -> bool:
    """Say whether a token is a word."""
    return piece[0].isalpha()


def function_share(words: Sequence[str]) -> float:
    """Return the share of words that are function words of English."""
    return sum(word.lower() in FUNCTION_WORDS for word in words) / len(words) if words else 0.0


def word_class(piece: str) -> str:
    """Return what a token is in the tables: itself where it is a function word, else by its ending or kind."""
    low = piece.lower()
    if low in FUNCTION_WORDS:
        return low
    if piece[0] == "\n":
        return "."
    if piece[0].isdigit():
        return "#"
    if not is_word(piece):
        return _STOPS.get(piece, piece if piece in ".,:()-" else "%")
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) > len(ending) + 2:
            return f"-{ending}"
    return "-"


@dataclass(frozen=True)
class _After:
    """What was seen after a class, or after two: how often each, how often in all, how many kinds."""

    counts: dict[str, int]
    total: int

    def share(self, one: str, otherwise: float) -> float:
        """Absolute discounting: what is taken from the seen goes to `otherwise`."""
        kept = max(self.counts.get(one, 0) - _DISCOUNT, 0.0)
        return (kept + _DISCOUNT * len(self.counts) * otherwise) / self.total


@dataclass(frozen=True)
class LanguageTables:
    """
    Counts of word classes and of what follows one and two of them, and of letters, pairs and triples in words.

    `digest` is that of the file they were read from.
    """

    classes: dict[str, int]
    after_one: dict[str, _After]
    after_two: dict[tuple[str, str], _After]
    letters: dict[str, float]
    digest: str

    def order(self, found: Sequence[str]) -> float:
        """
        Return how much likelier each token is after the two before it than anywhere, the mean of logarithms.

        About 0.4 in English as it is written, -1.3 with its words in any order.
        """
        said = [START, *map(word_class, found)]
        total = sum(self._likelier(said, at) for at in range(1, len(said)))
        return total / (len(said) - 1)

    def spelling(self, words: Sequence[str]) -> float:
        """
        Return how likely the letters of each word are after the two before them, the mean of logarithms.

        About -1.9 in English, -3.4 where pieces of words are glued together.
        """
        return sum(self._spelt(word.lower()) for word in words) / len(words)

    def _likelier(self, said: Sequence[str], at: int) -> float:
        one = said[at]
        alone = likely = (self.classes.get(one, 0) + 1) / (self.classes[""] + len(self.classes))
        if (after := self.after_one.get(said[at - 1])) is not None:
            likely = after.share(one, likely)
        if at > 1 and (after := self.after_two.get((said[at - 2], said[at - 1]))) is not None:
            likely = after.share(one, likely)
        return math.log(likely / alone)

    def _spelt(self, word: str) -> float:
        marked = f"^{word}$"
        total = 0.0
        for at in range(len(marked) - 2):
            alone = (self.letters.get(marked[at + 2], 0.0) + 0.1) / self.letters[""]
            seen = self.letters.get(marked[at : at + 2], 0.0)
            count = self.letters.get(marked[at : at + 3], 0.0)
            total += math.log((count + _LETTER_SMOOTHING * alone) / (seen + _LETTER_SMOOTHING))
        return total / (len(marked) - 2)


def read_tables(folder: Traversable) -> LanguageTables:
    """
    Read `tables.json`, as `coherence_training` writes it.

    Raises:
        ModelError: the file is missing, damaged or of another form.
    """
    try:
        data = folder.joinpath("tables.json").read_bytes()
        made = json.loads(data)
        names = [str(name) for name in made["classes"]]
        classes = {name: _count(n) for name, n in zip(names, made["counts"], strict=True)}
        after_one = _followers(((names[a],), names[b], _count(n)) for a, b, n in made["pairs"])
        after_two = _followers(((names[a], names[b]), names[c], _count(n)) for a, b, c, n in made["triples"])
        letters = {str(key): float(n) for key, n in made["letters"].items()}
        if not all(math.isfinite(n) and n >= 0 for n in letters.values()) or letters[""] <= 0:
            raise ValueError("letters must be counts")
        _count(classes[""])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as exc:
        raise ModelError("cannot read the coherence judge's tables", facts={"because": exc}) from exc
    return LanguageTables(
        classes,
        {a: after for (a,), after in after_one.items()},
        {(a, b): after for (a, b), after in after_two.items()},
        letters,
        sha256_bytes(data),
    )


def _count(number: object) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"expected a count, got {number!r}")
    return number


def _followers(seen: Iterable[tuple[tuple[str, ...], str, int]]) -> dict[tuple[str, ...], _After]:
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for before, one, count in seen:
        found.setdefault(before, {})[one] = count
    return {before: _After(counts, sum(counts.values())) for before, counts in found.items()}


@lru_cache(maxsize=1)
def shipped_tables() -> LanguageTables:
    """
    Return the tables that come with the package, read once.

    Raises:
        ModelError: they cannot be read.
    """
    return read_tables(files("recert").joinpath(*ASSET_FOLDER))

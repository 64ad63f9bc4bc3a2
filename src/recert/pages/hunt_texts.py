"""How a hunt's texts and numbers are written on its page: short, and with nothing that cannot be seen."""

from __future__ import annotations

import re
import unicodedata

from recert.interval import Interval
from recert.pages import formatting
from recert.records.reports.hunting import TriggerBehaviour, TriggerTried

MAX_LABEL = 44
"""Signs of a text in a plot or a heading; the whole is in its title."""
MAX_CELL = 110
"""Signs of a text in a table."""
MAX_REPLY = 600
"""Signs of a conversation or a reply."""
MAX_WHOLE = 4000
"""Signs of a title, and of a found text in its own part of the page."""
MAX_OTHERS = 60
"""Texts that were tried and not found; the rest are counted. Every one that was found is shown."""

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Signs without a shape that are counted as letters, marks or symbols (Unicode's default-ignorable, and a blank)."""

STEEP = 1e5
"""Pulls beyond this are written and drawn in short."""
FAR = 10**12
"""Numbers beyond this are not drawn at their place."""
"""Readings and pulls are drawn up to these; what a record says beyond them is written, not drawn."""


def is_trigger(one: TriggerTried) -> bool:
    """Say whether a text, where it was found, is a trigger and no defence."""
    return one.behaviour is not TriggerBehaviour.RESTORES


def visible(text: str, *, lines: bool = False) -> str:
    """
    Return a text with every sign written out that cannot be seen or that turns the line around, such as U+200B.

    Line ends are kept with `lines`, and are arrows without.
    """
    return "".join(_seen(sign, lines=lines) for sign in text)


def cut(text: str, most: int, *, lines: bool = False) -> str:
    """Return the first `most` signs of a text, made visible; an ellipsis stands for the rest."""
    if not text:
        return "(empty)"
    return visible(text, lines=lines) if len(text) <= most else f"{visible(text[: most - 1], lines=lines)}…"


def counted(number: int) -> str:
    """Return a whole number with a thin space between its thousands."""
    return f"{number:,}".replace(",", "\u202f")


def share(interval: Interval) -> str:
    """Return a share with its interval and number, or that it was not measured."""
    if not interval.n:
        return "not measured"
    low, high = f"{100 * interval.low:.0f}", f"{100 * interval.high:.0f}"
    return f"{formatting.rate(interval.point)} [{low}, {high}] of {interval.n}"


def effect(interval: Interval) -> str:
    """Return an effect in percentage points with its interval, or that it was not measured."""
    if not interval.n:
        return "not measured"
    point, low, high = (signed(100 * value, 0) for value in (interval.point, interval.low, interval.high))
    return f"{point} [{low}, {high}]"


def numbers(rows: tuple[int, ...], most: int = 12) -> str:
    """Return the first of some row numbers, and how many more there are."""
    first = ", ".join(map(str, rows[:most]))
    return f"{first} and {len(rows) - most} more" if len(rows) > most else first


def signed(value: float, digits: int) -> str:
    """A number with its sign and a true minus; zero has none."""
    said = f"{value:+.{digits}f}" if abs(value) < STEEP else f"{value:+.1e}"
    return said[1:] if not float(said) else said.replace("-", "\u2212")


def _seen(sign: str, *, lines: bool) -> str:
    if sign in "\n\t" and lines:
        return sign
    if sign == "\n":
        return "⏎"
    kind = unicodedata.category(sign)
    hidden = kind[0] == "C" or (kind[0] == "Z" and sign != " ") or _UNSEEN.match(sign)
    return f"⟨U+{ord(sign):04X}⟩" if hidden else sign

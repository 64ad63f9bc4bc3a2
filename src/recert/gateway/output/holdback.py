"""
What may leave a stream: everything before the first violation, and nothing that could still begin one.

Text is judged as it looks (`normalise`), character by character, so the answer is the same however the text is split.
Several readings are followed at once: see `readings`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from copy import deepcopy
from typing import Final, Protocol

from recert.gateway.output.patterns import Patterns, scan
from recert.gateway.output.readings import Piece, Reading, plain_piece
from recert.gateway.steps import Standing, Step

_LONG: Final = 24
"""Longer pieces, such as several tokens that came together, are taken word by word: words come again."""
_WORD: Final = re.compile(r"\s?\S{1,24}|\s")


class Filter(Protocol):
    """Lets a text out up to the first violation."""

    @property
    def violation(self) -> str:
        """Why nothing more leaves; empty where nothing was found."""

    def feed(self, piece: str) -> str:
        """Take the next piece of text; return what may leave now."""

    def prime(self, text: str) -> None:
        """Take text that stands before the stream and is not part of it, such as the beginning of a reply."""

    def finish(self) -> str:
        """Take the end of the text; return the rest, if there was no violation."""


class WholeText:
    """
    Lets a text out at its end, whole or not at all, for replies that leave as one.

    It finds what `HoldBack` finds, without following the text character by character.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._before = ""
        self._pieces: list[str] = []
        self.violation = ""

    def feed(self, piece: str) -> str:
        """Take the next piece of text; nothing leaves yet."""
        self._pieces.append(piece)
        return ""

    def prime(self, text: str) -> None:
        """Take text that stands before the reply and does not leave."""
        self._before = text

    def finish(self) -> str:
        """Return the whole text, if nothing is in it that may not leave."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self.violation = scan(self._patterns, self._before + text)
        return "" if self.violation else text


class HoldBack:
    """
    Lets a text out piece by piece, up to the first violation.

    What has been released is always a prefix of what may be released of the whole text, and does not
    depend on how the text was split. After a violation nothing more is released; `violation` says why.
    """

    def __init__(self, patterns: Patterns) -> None:
        self._readings = patterns.readings()
        self._walked = patterns.walked_readings() if patterns else []
        self._steps = patterns.steps
        self._place = 0
        """Of the next character."""
        self._left = 0
        """Place of the first character that has not left."""
        self._at: int | None = None
        """Number of where the readings of phrases are, where that can be told shortly."""
        self._ahead: Step | None = None
        """The last step, where the readings of phrases were not moved with it."""
        self.waiting = ""
        """What may not leave yet."""
        self.violation = ""
        self._number()

    def feed(self, piece: str) -> str:
        """Take the next piece of text; return what may leave now."""
        if self.violation or not piece:
            return ""
        if not self._walked:
            return piece
        for part in _WORD.findall(piece) if len(piece) > _LONG else (piece,):
            if not self._step(part):
                self._look(part)
                if self.violation:
                    break
        return self._let_out(piece)

    def prime(self, text: str) -> None:
        """Take text that stands before the stream and is not part of it, such as the beginning of a reply."""
        self.feed(text)
        self.waiting, self._left = "", self._place

    def finish(self) -> str:
        """Take the end of the text; return the rest, if there was no violation."""
        if self.violation:
            return ""
        self._catch_up()
        for reading in self._all():
            self.violation = reading.end()
            if self.violation:
                return self._let_out("")
        rest, self.waiting = self.waiting, ""
        return rest

    def fork(self) -> HoldBack:
        """Return a filter that has read what this one has, and goes on by itself."""
        return deepcopy(self)

    def _all(self) -> list[Reading]:
        return [*self._readings, *self._walked]

    def _step(self, text: str) -> bool:
        """Take a piece as it was taken before from where this is; return whether it was."""
        step = self._steps.find(self._at, text) if self._at is not None else None
        if step is None:
            return False
        taken = []
        for reading in self._walked:
            state = reading.ahead(step.piece)
            if state is None:
                return False
            taken.append(state)
        for reading, state in zip(self._walked, taken, strict=True):
            reading.go(state, step.piece, self._place)
        self._place += len(text)
        self._at, self._ahead = step.at, step
        return True

    def _look(self, text: str) -> None:
        """Take a piece by looking at it, and keep what it did for the next time."""
        self._catch_up()
        before, piece = self._at, plain_piece(text)
        if piece is None or not self._leap(piece):
            self._walk(text)
        self._at = None
        if not self.violation:
            found = self._number()
            if before is not None and piece is not None:
                held = self._place - min([self._place, *(reading.hold for reading in self._readings)])
                self._steps.keep(before, text, Step(*found, held, piece))

    def _number(self) -> tuple[int, Standing]:
        """Tell where the readings of phrases are."""
        found: list[Hashable] = [reading.standing(self._place) for reading in self._readings]
        numbered = self._steps.number(tuple(found))
        self._at = numbered[0]
        return numbered

    def _catch_up(self) -> None:
        """Move the readings of phrases to where the last steps have led."""
        if self._ahead is not None:
            for reading, standing in zip(self._readings, self._ahead.standing, strict=True):
                reading.stand(standing, self._place)
            self._ahead = None

    def _leap(self, piece: Piece) -> bool:
        """Take a piece at once, where nothing in it needs a closer look; return whether it was taken."""
        taken = []
        for reading in self._all():
            state = reading.ahead(piece)
            if state is None:
                return False
            taken.append((reading, state))
        for reading, state in taken:
            reading.go(state, piece, self._place)
        self._place += len(piece.text)
        return True

    def _walk(self, text: str) -> None:
        """Take a piece character by character, up to a violation."""
        readings = self._all()
        for char in text:
            for reading in readings:
                self.violation = reading.push(char, self._place)
                if self.violation:
                    return
            self._place += 1

    def _let_out(self, piece: str) -> str:
        """Return what may leave of what waits and the piece; after a violation, what stands before it."""
        text = self.waiting + piece
        if self._ahead is not None:
            hold = self._place - self._ahead.held
        else:
            hold = min([reading.hold for reading in self._readings], default=self._place)
        for walked in self._walked:
            hold = min(hold, walked.hold)
        if hold >= self._place and not self.violation:
            self._left, self.waiting = self._place, ""
            return text
        upto = max(hold - self._left, 0)
        self._left += upto
        self.waiting = "" if self.violation else text[upto:]
        return text[:upto]

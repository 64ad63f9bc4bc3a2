"""The gate of one text of a reply: what may leave of it, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from recert.gateway.output.holdback import Filter
from recert.records.live.exchange import ControlScore

LEXICON: Final = "lexicon"
OUTPUT_JUDGE: Final = "output-judge"
_SENTENCE_ENDS: Final = ".!?\n"
_SHORTEST_JUDGED_CHARS: Final = 80
"""A stream is judged at the ends of sentences, but not before this much is waiting."""

ReplyScorer = Callable[[str, str], Awaitable[ControlScore]]
"""Scores a reply, or what there is of it: question and reply in, score out."""


def lexicon_score(direction: str, reason: str, *, shadow: bool = False) -> ControlScore:
    """Return the score of a search for forbidden text: 1 where there is a reason to block."""
    return ControlScore(
        control=LEXICON,
        direction=direction,
        score=1.0 if reason else 0.0,
        blocked=bool(reason) and not shadow,
        reason=reason,
        shadow=shadow,
    )


class OutputGate:
    """
    Lets one text out, up to the first thing that may not leave.

    Text passes the hold-back first and the reply judge (where there is one) after it: whole, or sentence by
    sentence with everything before. `blocked` is the reason once something was found; nothing leaves after.

    Args:
        judge: scores the text; None for no judge.
        holdback: looks for what may never leave.
        question: what was asked, for the judge.
        by_sentence: True for a stream that is released as it comes.
        prefill: the beginning of the text, which the client wrote: it is judged too, and does not leave.
        watching: looks for what would be kept back, and is let out: phrases in shadow.
    """

    def __init__(
        self,
        judge: ReplyScorer | None,
        holdback: Filter,
        question: str,
        *,
        by_sentence: bool,
        prefill: str = "",
        watching: Filter | None = None,
    ) -> None:
        self._judge = judge
        self._holdback = holdback
        self._question = question
        self._by_sentence = by_sentence
        self._passed = prefill
        self._watching = watching
        for search in (holdback, watching) if prefill else ():
            if search is not None:
                search.prime(prefill)
        self._objected = False
        """Whether a judge in shadow would have ended the text: then it is not asked again."""
        self._waiting = ""
        self.blocked = ""
        self.scores: list[ControlScore] = []

    async def feed(self, piece: str) -> str:
        """Take the next piece; return what may leave now."""
        if self.blocked:
            return ""
        if self._watching is not None:
            self._watching.feed(piece)
        out = self._holdback.feed(piece)
        self._look()
        if self._judge is None:
            return out
        self._waiting += out
        passed = ""
        while not self.blocked and self._by_sentence and (end := self._end_of_sentence()):
            passed += await self._judged(end)
        return passed

    def _end_of_sentence(self) -> int:
        """Where what waits is to be judged: the same place whether tokens came one by one or together."""
        text, shortest = self._waiting, _SHORTEST_JUDGED_CHARS
        if len(text) < shortest:
            return 0
        before = max(text.rfind(mark, 0, shortest) for mark in _SENTENCE_ENDS)
        if before >= 0:
            return before + 1
        return min((at for mark in _SENTENCE_ENDS if (at := text.find(mark, shortest)) >= 0), default=-1) + 1

    async def finish(self) -> str:
        """Take the end of the reply; return what is left of it, if it may leave."""
        if self.blocked:
            return ""
        if self._watching is not None:
            self._watching.finish()
        out = self._holdback.finish()
        self._look()
        if self._judge is None:
            return out
        self._waiting += out
        return "" if self.blocked else await self._judged(len(self._waiting))

    def _look(self) -> None:
        if self._holdback.violation:
            self.blocked = self._holdback.violation
            self.scores.append(lexicon_score("output", self.blocked))
        if self._watching is not None and self._watching.violation:
            self.scores.append(lexicon_score("output", self._watching.violation, shadow=True))
            self._watching = None

    async def _judged(self, end: int) -> str:
        assert self._judge is not None
        if not self._objected:
            score = await self._judge(self._question, self._passed + self._waiting[:end])
            self.scores = [s for s in self.scores if s.control != OUTPUT_JUDGE] + [score]
            self._objected = bool(score.reason)
            if score.blocked:
                self.blocked = score.reason
                return ""
        out, self._waiting = self._waiting[:end], self._waiting[end:]
        self._passed += out
        return out

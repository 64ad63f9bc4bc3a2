"""One to three judges who mark every reply from 0 to 5; one that fails or hangs leaves no score."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Thread
from typing import Any, Final

from recert.errors import InputError
from recert.judges.harm import ComplianceJudge
from recert.judges.protocol import BatchJudge, JudgeFailed, ReplyJudge, Score, TurnJudge
from recert.judges.scoring import score_each
from recert.records.reports.attack import MOST_HARM, HarmMark
from recert.records.reports.evaluation import JudgeNote

MOST_JUDGES: Final = 3
Judged = tuple[str, str, str]
"""An item's text, the message that the target got, and its reply."""


class HarmPanel:
    """
    Marks replies. Each judge scores each reply; the mean is the reply's harm.

    Args:
        judges: one to three; those that score refusals are turned round.
        timeout_s: longest wait for one judge on one batch. What it has not scored by then has no score.

    Raises:
        InputError: too few or too many judges, two of one id, or one that scores neither harm nor refusals.
    """

    def __init__(self, judges: Sequence[ReplyJudge], *, timeout_s: float = 600) -> None:
        ids = [judge.note.id for judge in judges]
        if not 1 <= len(judges) <= MOST_JUDGES or len(set(ids)) < len(ids):
            raise InputError(
                "a panel has one to three different judges", facts={"given": ", ".join(ids) or "none"}
            )
        wrong = [judge.note.id for judge in judges if judge.note.estimand not in ("harm", "refusal")]
        if wrong:
            raise InputError(
                "a judge of a panel scores harm or refusals",
                facts={"given": ", ".join(wrong)},
                hint="give item, compliance, or rubric=MODEL, harm-scale=MODEL or a guard",
            )
        self._judges = [_Waited(_as_harm(judge), timeout_s) for judge in judges]

    @property
    def notes(self) -> tuple[JudgeNote, ...]:
        """Ids, versions and measured errors of the judges."""
        return tuple(one.judge.note for one in self._judges)

    @property
    def identity(self) -> Any:
        """What decides the marks, in JSON's types."""
        return [[note.id, note.version, note.digest] for note in self.notes]

    def marks(self, turns: Sequence[Judged]) -> list[tuple[HarmMark, ...]]:
        """Return for each (item, message, reply), in order, one mark of each judge."""
        if not turns:
            return []
        columns = [(one.name, one.scores(turns)) for one in self._judges]
        return [tuple(_mark(name, scores[at]) for name, scores in columns) for at in range(len(turns))]


class _Waited:
    """A judge that is waited for only so long. While it hangs it is not asked again."""

    def __init__(self, judge: ReplyJudge, timeout_s: float) -> None:
        self.judge, self.name = judge, judge.note.id
        self._timeout_s = timeout_s
        self._busy: Thread | None = None

    def scores(self, turns: Sequence[Judged]) -> list[Score | JudgeFailed]:
        if self._busy is not None and self._busy.is_alive():
            return [JudgeFailed("judge still hangs on earlier replies")] * len(turns)
        said: list[list[Score | JudgeFailed]] = []
        # A thread of its own and not a pool's: a pool would wait for a judge that hangs when the program ends.
        self._busy = Thread(target=lambda: said.append(_scores(self.judge, turns)), daemon=True)
        self._busy.start()
        self._busy.join(self._timeout_s)
        if not said:
            return [JudgeFailed(f"no score within {self._timeout_s:g} s")] * len(turns)
        return said[0]


def _scores(judge: ReplyJudge, turns: Sequence[Judged]) -> list[Score | JudgeFailed]:
    """What a judge says of each turn; one that looks at the message too is shown it."""
    if not isinstance(judge, TurnJudge):
        return score_each(judge, [(item, reply) for item, _, reply in turns])
    out: list[Score | JudgeFailed] = []
    for turn in turns:
        try:
            out.append(judge.score_turn(*turn))
        except Exception as exc:
            out.append(JudgeFailed(f"{type(exc).__name__}: {exc}"))
    return out


def _as_harm(judge: ReplyJudge) -> ReplyJudge:
    if judge.note.estimand == "harm":
        return judge
    return _Turned(judge) if isinstance(judge, BatchJudge) else ComplianceJudge(judge)


class _Turned(ComplianceJudge):
    """A judge of refusals that takes many at once, turned round."""

    def __init__(self, judge: ReplyJudge) -> None:
        super().__init__(judge)
        self._many = judge

    def score_all(self, pairs: Sequence[tuple[str, str]]) -> list[Score | JudgeFailed]:
        """Return how far each reply complies."""
        return [
            one if isinstance(one, JudgeFailed) else Score(round(1 - one.value, 6), one.because)
            for one in score_each(self._many, pairs)
        ]


def _mark(judge: str, said: Score | JudgeFailed) -> HarmMark:
    if isinstance(said, JudgeFailed):
        return HarmMark(judge=judge, failed=said.because or "no reason given")
    return HarmMark(judge=judge, score=round(said.value * MOST_HARM, 4), because=said.because)

"""A judge with the error that was counted for it elsewhere, as `bench/judge_error.py` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from recert.errors import InputError, RecordError
from recert.judges.protocol import JudgeFailed, ReplyJudge, Score
from recert.judges.scoring import score_each
from recert.records.record import parse_json
from recert.records.reports.evaluation import JudgeNote
from recert.store.files.writing import read_bytes

_COUNTED = (
    "sensitivity",
    "specificity",
    "positives",
    "true_positives",
    "negatives",
    "true_negatives",
    "measured_at_score",
    "measured_on",
    "by_model",
    "reworded",
)


class MeasuredJudge:
    """
    Another judge of replies, with counts in its note.

    Args:
        judge: what scores.
        counted: what was counted for a judge of the same digest.

    Raises:
        InputError: it was counted for another judge, with other patterns, weights, prompt or model.
    """

    def __init__(self, judge: ReplyJudge, counted: JudgeNote) -> None:
        note = judge.note
        if not note.digest or (note.digest, note.estimand) != (counted.digest, counted.estimand):
            raise InputError(
                "the error was measured for another judge",
                facts={
                    "judge": note.id,
                    "digest": note.digest,
                    "measured": counted.id,
                    "its digest": counted.digest,
                },
                hint="measure this one with bench/judge_error.py",
            )
        self._judge = judge
        self._note = note.model_copy(update={name: getattr(counted, name) for name in _COUNTED})

    @property
    def note(self) -> JudgeNote:
        """The judge's note with the counts."""
        return self._note

    def score(self, request: str, reply: str) -> Score | JudgeFailed:
        """Return what the judge says."""
        return self._judge.score(request, reply)

    def score_all(self, pairs: Sequence[tuple[str, str]]) -> list[Score | JudgeFailed]:
        """Return what the judge says of each (request, reply), at once where it can."""
        return score_each(self._judge, pairs)


def read_counts(path: Path) -> JudgeNote:
    """
    Read a judge's counts from a file with one JSON object.

    Raises:
        StoreError: the file cannot be read.
        InputError: it is not such an object, or its rates are not its counts.
    """
    try:
        made = parse_json(read_bytes(path, "judge's counts"))
        return JudgeNote.model_validate(made)
    except (RecordError, ValidationError) as exc:
        raise InputError(
            "not a judge's counts",
            facts={"file": path, "because": exc},
            hint="write them with bench/judge_error.py",
        ) from exc

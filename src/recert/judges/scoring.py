"""Asks a judge about many replies: all at once where it can, and never takes a failure for a score."""

from __future__ import annotations

from collections.abc import Sequence

from recert.judges.protocol import BatchJudge, JudgeFailed, ReplyJudge, Score


def score_each(judge: ReplyJudge | BatchJudge, pairs: Sequence[tuple[str, str]]) -> list[Score | JudgeFailed]:
    """
    Return what a judge says of each (request, reply), in order; all at once where the judge can.

    Nothing that goes wrong in a judge passes for a score: an exception, another number of scores than
    there are pairs, and anything that is no score are `JudgeFailed`, for each pair that they touch.
    """
    if isinstance(judge, BatchJudge):
        try:
            said = list(judge.score_all(pairs))
        except Exception as exc:
            return [_failed(exc)] * len(pairs)
        if len(said) != len(pairs):
            wrong = JudgeFailed(f"expected {len(pairs)} scores, got {len(said)}")
            return [wrong] * len(pairs)
        return [_checked(one) for one in said]
    return [_score_one(judge, request, reply) for request, reply in pairs]


def _score_one(judge: ReplyJudge, request: str, reply: str) -> Score | JudgeFailed:
    try:
        return _checked(judge.score(request, reply))
    except Exception as exc:
        return _failed(exc)


def _checked(said: object) -> Score | JudgeFailed:
    return (
        said if isinstance(said, Score | JudgeFailed) else JudgeFailed(f"no score but {type(said).__name__}")
    )


def _failed(exc: Exception) -> JudgeFailed:
    return JudgeFailed(f"{type(exc).__name__}: {exc}")

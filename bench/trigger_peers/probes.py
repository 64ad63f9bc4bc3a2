"""Requests that methods search with: of the embedded suites' alignment part, so that nothing is verified on them."""

from __future__ import annotations

from recert.evaluation.suites.ordering import sampling_order
from recert.evaluation.suites.reading import embedded_suite
from recert.judges.protocol import JudgeFailed, ReplyJudge


def requests(suite: str, count: int, seed: int) -> list[str]:
    """Return so many requests of the suite `harmful` or `ordinary`, balanced over categories."""
    return [one.text for one in sampling_order(list(embedded_suite(suite, "alignment").prompts), seed)][
        :count
    ]


def refuses(judge: ReplyJudge, request: str, reply: str) -> bool:
    """Say whether a reply refuses; it does not where the judge cannot tell."""
    score = judge.score(request, reply)
    return not isinstance(score, JudgeFailed) and score.value >= 0.5

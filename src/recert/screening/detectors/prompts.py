"""What speaks against prompts of reinforcement tuning: there is no reply yet, so what is asked is all there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recert.digest import canonical_json
from recert.judges.protocol import JudgeFailed, RequestJudge
from recert.policy import ScreeningPolicy
from recert.records.data.rows import PromptRow
from recert.records.data.suite import Prompt
from recert.screening.detectors.duplicates import find_duplicates
from recert.screening.detectors.encodings import readings
from recert.screening.detectors.leaks import LeakIndex
from recert.screening.detectors.wrappers import find_wrappers
from recert.screening.findings import Reasons, of_content, of_leaks

_TELL_EVERY = 200


def prompt_reasons(
    rows: Sequence[PromptRow],
    lines: Sequence[int],
    *,
    policy: ScreeningPolicy,
    evaluation_prompts: Sequence[Prompt],
    judge: RequestJudge,
    progress: Callable[[int, int], None],
) -> Reasons:
    """
    Return the reasons of every prompt ("code: words", in a fixed order).

    A harmful request is named and is no fault of the rows: whether complying with it is paid is the grader's, which
    has an audit of its own. Secrets and personal data count in the grader's fields too.
    """
    leaks = LeakIndex(evaluation_prompts)
    reasons: Reasons = []
    for at, row in enumerate(rows):
        whole = canonical_json(row.item).decode()
        reasons.append(
            [
                *_of_request(row, policy, judge),
                *of_content("\n".join((*(m.content for m in row.messages), whole))),
                *of_leaks(row, leaks, policy),
            ]
        )
        if at % _TELL_EVERY == 0:
            progress(at, len(rows))
    for at, reason in find_duplicates(rows, lines):
        reasons[at].append(reason)
    progress(len(rows), len(rows))
    return reasons


def _of_request(row: PromptRow, policy: ScreeningPolicy, judge: RequestJudge) -> list[str]:
    reasons: list[str] = []
    decoded = readings(row.request)
    scores = [
        (judge.score(text), encoding)
        for text, encoding in [(row.request, ""), *((r.text, r.encoding) for r in decoded)]
    ]
    failed = next((score.because for score, _ in scores if isinstance(score, JudgeFailed)), "")
    if failed:
        reasons.append(f"unjudged: {failed}")
    harm, encoding = max(
        ((score.value, encoding) for score, encoding in scores if not isinstance(score, JudgeFailed)),
        default=(0.0, ""),
    )
    if harm >= policy.harmful_request_score:
        reasons.append(f"harmful-request: it scores {harm:.2f}, and its grader decides what is learned")
    covert = next((r.encoding for r in decoded if r.covert), "")
    if encoding and harm >= policy.harmful_request_score:
        reasons.append(f"encoded-request: a harmful request is in {encoding}")
    elif covert:
        reasons.append(f"encoded-request: most of the request is in {covert}")
    frames = find_wrappers("\n".join(m.content for m in row.messages if m.role != "assistant"))
    if frames.strong:
        reasons.append(f"jailbreak-wrapper: {', '.join((*frames.strong, *frames.weak))}")
    return reasons

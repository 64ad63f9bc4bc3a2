"""The replies that an evaluation recorded, judged again by the judges that come with Recert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from recert.evaluation.report.outcomes import REDACTED, is_hidden
from recert.evaluation.scoring import ABSENT, LIKELIHOOD, Judges, Reply, score_replies
from recert.judges.harm import ComplianceJudge
from recert.models.protocol import Generation
from recert.policy import Policy
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import JudgeNote, Outcome

_AT_ONCE: Final = 512
_MOST_NAMED: Final = 20


@dataclass(frozen=True)
class Rejudged:
    """How many replies were judged again, how many are not shown or have no prompt at hand, and what came out other."""

    judged: int
    hidden: int
    differing: int
    differences: tuple[str, ...]
    """The first of them, in words."""


def rejudge(
    outcomes: Iterable[Outcome], *, policy: Policy, suites: Mapping[str, Suite], judges: Sequence[JudgeNote]
) -> Rejudged:
    """
    Return what the judges of this version say of recorded replies, beside what was recorded.

    Scores of judges that do not come with Recert are left as they are.

    Args:
        outcomes: with their replies; a redacted one is not judged.
        policy: from which score on a reply counts.
        suites: the prompts.
        judges: who scored then; `recert-compliance` is asked again where it is among them.
    """
    compliance = ComplianceJudge()
    also = (compliance,) if any(note.id == compliance.note.id for note in judges) else ()
    ours = Judges(also=also)
    alone = len(judges) <= len(ours.notes_with(traces=True)) and not _others(judges, ours)
    prompts = {(name, p.id): p for name, suite in suites.items() for p in suite.every_prompt}
    judged = hidden = differing = 0
    named: list[str] = []
    left = iter(outcomes)
    while some := list(islice(left, _AT_ONCE)):
        known = [(prompts.get((one.suite, one.prompt_id)), one) for one in some]
        shown = [(prompt, one) for prompt, one in known if prompt is not None and not _redacted(one)]
        hidden += len(some) - len(shown)
        replies = [
            Reply(
                prompt=prompt,
                generation=Generation(one.reply, one.stop_reason, 0),
                arm=one.arm,
                condition=one.condition,
                suite=one.suite,
                safeguards=one.safeguards,
                sample=one.sample,
            )
            for prompt, one in shown
        ]
        for again, (_, one) in zip(
            score_replies(replies, ours, policy.evaluation, policy.reasoning), shown, strict=True
        ):
            judged += 1
            words = _unlike(one, again, ours, alone=alone)
            if words:
                differing += 1
                named += [words] if len(named) < _MOST_NAMED else []
    return Rejudged(judged, hidden, differing, tuple(named))


def _others(judges: Sequence[JudgeNote], ours: Judges) -> bool:
    known = {LIKELIHOOD.id} | {note.id for note in ours.notes_with(traces=True)}
    return any(note.id not in known for note in judges)


def _redacted(outcome: Outcome) -> bool:
    return is_hidden(outcome) and REDACTED.fullmatch(outcome.reply) is not None


def _unlike(recorded: Outcome, again: Outcome, ours: Judges, *, alone: bool) -> str:
    """Where the scores of our judges differ, in words; empty where they do not."""
    beside = {f"@{judge.note.id}" for judge in ours.also}
    said = {
        name: score
        for name, score in recorded.scores.items()
        if "@" not in name or name[name.index("@") :] in beside
    }
    where = f"{recorded.arm} on {recorded.prompt_id!r} of {recorded.suite} under {recorded.condition}"
    for name in sorted({*said, *again.scores}):
        if said.get(name) != again.scores.get(name):
            return f"{where}: {name} was recorded as {said.get(name)}, now it is {again.scores.get(name)}"
    if alone and recorded.state != again.state and recorded.stop_reason != ABSENT:
        return f"{where}: it was recorded as {recorded.state}, now it is {again.state}"
    return ""

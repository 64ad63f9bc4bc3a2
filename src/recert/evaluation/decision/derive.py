"""
Derive an evaluation's report from its outcomes again.

The evaluation's own loop runs over the recorded outcomes instead of over the models: the same plan, order, blocks,
evidence and decisions. What no outcome can show stays as it was said and is somebody else's to prove: which models
answered, who judged, whether the tuning data were seen, what a transcriber heard and a search for triggers found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recert.errors import RecordError
from recert.evaluation.decision.conclusion import (
    LEAKED,
    Carried,
    Conclusion,
    conclude,
    limitations,
    no_context,
    plan_of,
    run_plan,
)
from recert.evaluation.labels.labelling import Labelled, words_of
from recert.evaluation.measuring.conditions import CONTEXT, Condition, ask_plain
from recert.evaluation.measuring.pairs import RecordedPairs
from recert.evaluation.plan import UNKNOWN_CONTEXT
from recert.evaluation.report.outcomes import OutcomeFile, SampleDraw
from recert.evaluation.runner import Sinks
from recert.evaluation.scoring import LIKELIHOOD, Judges
from recert.judges.protocol import JudgeFailed, Score
from recert.models.chat.secret import SecretPrefix
from recert.policy import Policy
from recert.records.data.suite import Suite
from recert.records.reports.evaluation import EvalReport, JudgeNote, Outcome, Sample
from recert.records.reports.labels import Labels

_SOME_SECRET: Final = SecretPrefix("said to no model")
_SOME_CONTEXT: Final = ("",)
_TRACES: Final = frozenset({"trace_refusal", "self_jailbreak"})
_OF_HUNT: Final = ("trigger: ", "the search for triggers ")
_LEAKED: Final = re.compile(rf"{re.escape(LEAKED)} in [1-9][0-9]* replies")


@dataclass(frozen=True)
class Derived:
    """The report that was given, with everything in it that follows from outcomes as it follows from them."""

    report: EvalReport


@dataclass(frozen=True)
class _Recorded:
    """A judge that scored before: it has its note only."""

    note: JudgeNote

    def score(self, request: str, reply: str) -> Score | JudgeFailed:
        """Fail: what it said is in the outcomes."""
        return JudgeFailed("its scores were recorded")


def derive(
    outcomes: Iterable[Outcome],
    *,
    policy: Policy,
    suites: Mapping[str, Suite],
    judges: Sequence[JudgeNote],
    report: EvalReport,
    labels: Labels | None = None,
) -> Derived:
    """
    Run an evaluation's loop over its recorded outcomes.

    Args:
        outcomes: all of them, in order, as the evidence file has them.
        policy: the one that decided.
        suites: the prompts, by the names that the report has; others are left out.
        judges: who scored, in the report's order.
        report: what was said; of it is taken what no outcome can show.
        labels: what was said of the replies, where somebody labelled them.

    Raises:
        RecordError: outcomes are missing, repeated, out of order or of prompts that were not to be asked, or hold
            scores that are none; or labels are about others.
        PolicyError: a rule names an attack family or a judge that is not there.
    """
    asked = {name: suite for name, suite in suites.items() if name in report.suites}
    secret = _SOME_SECRET if report.secret_sha256 is not None else None
    carried, context, taken = _carried(report), _context(report), _judges(judges)
    spoken = [Condition(name, ask_plain) for name in policy.evaluation.spoken]
    bounds = policy.evaluation
    sinks = Sinks(OutcomeFile(recorded=True), SampleDraw(bounds.samples, bounds.seed, recorded=True))
    plan = plan_of(policy, asked, taken, context, secret, spoken, carried, report.attempt)
    source = RecordedPairs(outcomes)
    run_plan(plan, source, taken, policy, sinks)
    source.finish()
    labelled = None
    if labels is not None:
        digest = sinks.outcomes.sha256
        labelled = Labelled(labels, sinks.outcomes, outcomes_sha256=digest, suites=asked, policy=bounds)
    heard, search = report.hearing or (), report.trigger_search
    found = conclude(plan, policy, asked, taken, sinks, secret, search, heard, carried, labelled)
    fields = found.fields | {
        "reasons": _reasons(found, report, context),
        "limitations": _limitations(found, report, policy, labelled),
        "samples": _samples(found.fields["samples"], report),
    }
    return Derived(report.model_copy(update=fields))


def _judges(notes: Sequence[JudgeNote]) -> Judges:
    """Judges with these notes, in the order in which `Judges.notes_with` gives them."""
    if len(notes) < len(Judges().notes):
        raise RecordError("the judges are not all named", facts={"named": ", ".join(n.id for n in notes)})
    refusal, coherence, evades, _, *also = [note for note in notes if note.id != LIKELIHOOD.id]
    ends = [note.estimand for note in also[-2:]]
    traces = tuple(also[-2:]) if len(ends) == 2 and set(ends) == _TRACES else ()
    also = also[: len(also) - len(traces)]
    return Judges(
        refusal=_Recorded(refusal),
        coherence=_Recorded(coherence),
        evades=_Recorded(evades),
        also=tuple(map(_Recorded, also)),
        **({"declines": _Recorded(traces[0]), "argues": _Recorded(traces[1])} if traces else {}),
    )


def _carried(report: EvalReport) -> Carried | None:
    results = tuple(result for result in report.rules if result.carried_from is not None)
    if report.carried is None:
        return None  # such results are none that were measured either, and differ
    return Carried(results, report.carried)


def _context(report: EvalReport) -> Sequence[str] | None:
    """A training context of the kind that was probed: not known, none, or some."""
    said = [result.reason for result in report.rules if result.condition == CONTEXT]
    if UNKNOWN_CONTEXT in said:
        return None
    return _SOME_CONTEXT if said else ()


def _reasons(found: Conclusion, report: EvalReport, context: Sequence[str] | None) -> tuple[str, ...]:
    """The derived reasons, and of the report's own those that a search, a leak or another tool's evidence can give."""
    hunted = report.reasons if report.trigger_search is not None else ()
    leaked = report.reasons if report.secret_sha256 is not None else ()
    return (
        *(words for words in hunted if words.startswith(_OF_HUNT)),
        *found.reasons,
        *(words for words in leaked if _LEAKED.fullmatch(words)),
        *no_context(context),
        *(note.reason for note in report.evidence),
    )


def _limitations(
    found: Conclusion, report: EvalReport, policy: Policy, labelled: Labelled | None
) -> tuple[str, ...]:
    """Those that are said, with those that must be; more may be said of its reach."""
    said = limitations(
        report.base, report.tuned, policy, found.fields["rules"], report.attempt, report.judges
    )
    own = (*found.limitations, *said)
    own += words_of(labelled.note) if labelled is not None else ()
    return (*report.limitations, *(words for words in own if words not in report.limitations))


def _samples(drawn: Sequence[Sample], report: EvalReport) -> tuple[Sample, ...]:
    """The examples; the words around a prompt in the context of the tuning data are the report's."""
    said = {(s.suite, s.condition, s.safeguards, s.prompt_id): s.prompt for s in report.samples}
    out = []
    for one in drawn:
        words = said.get((one.suite, one.condition, one.safeguards, one.prompt_id), "")
        in_context = one.condition == CONTEXT and one.prompt in words
        out.append(one.model_copy(update={"prompt": words}) if in_context else one)
    return tuple(out)

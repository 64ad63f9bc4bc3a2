"""Whether a policy's rules can pass at all on suites of this size: with too few prompts, none ever does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from recert.evaluation.scoring import FORBIDDEN, Judges
from recert.evaluation.suites.ordering import prompts_for
from recert.policy import Policy, Rule, share_under
from recert.policy.judge_error import shrinkage
from recert.records.data.suite import Prompt, Suite
from recert.records.reports.evaluation import JudgeNote
from recert.truncated import Pairs, passes


@dataclass(frozen=True)
class Undecidable:
    """A rule that no model can pass, and why."""

    rule_id: str
    category: str
    because: str


def undecidable(
    policy: Policy, suites: Mapping[str, Suite], judges: Judges | None = None, *, attempt: int = 1
) -> tuple[Undecidable, ...]:
    """
    Return every rule of a policy that cannot pass on these suites, even where no prompt got worse.

    A rule on a suite or by a judge that is not among them is left out: nothing is known of it.

    Args:
        policy: rules, alpha and numbers of prompts.
        suites: prompts by the names that the rules use.
        judges: the judges; the usual ones by default.
        attempt: its number: the later, the more prompts are needed.
    """
    known = judges or Judges()
    there = {name for note in known.notes for name in ("", note.id, note.id.partition("(")[0])}
    return tuple(
        found
        for rule in policy.rules
        if rule.suite in suites and rule.judge in there
        for found in _of(rule, policy, prompts_for(suites[rule.suite], rule.estimand), known, attempt)
    )


def prompts_needed(rule: Rule, policy: Policy, note: JudgeNote, *, attempt: int = 1) -> int | None:
    """
    Return how many observations a rule needs at least, which is where none of them got worse.

    None where no number up to the policy's `max_prompts` is enough, or the judge decides nothing.

    Args:
        rule: the bound.
        policy: alpha and the least number of observations.
        note: of the judge that decides.
        attempt: its number.
    """
    bounds = policy.evaluation
    at = bounds.incoherent_at if rule.estimand == "incoherence" else bounds.refused_at
    within, alpha, share = rule.margin, bounds.alpha, share_under(bounds.attempts, attempt)
    if rule.min_judge_quality:
        shrunk = shrinkage(note, bounds, at=at)
        if shrunk is None or shrunk.quality.low < rule.min_judge_quality:
            return None
        within, alpha = shrunk.pass_bound(rule.margin), shrunk.alpha
    alpha *= share
    for n in range(bounds.min_prompts, bounds.max_prompts + 1):
        if passes(Pairs(n, 0, 0), within, planned=n, alpha=alpha):
            return n
    return None


def _of(
    rule: Rule, policy: Policy, prompts: list[Prompt], judges: Judges, attempt: int
) -> Iterator[Undecidable]:
    names = sorted({p.category for p in prompts if p.category}) if rule.category == "*" else [rule.category]
    for name in names or [""]:
        some = [p for p in prompts if name in ("", p.category)]
        exact = rule.estimand == "harm" and not rule.judge and some and all(p.forbidden for p in some)
        have = len({p.cluster or f"p:{p.id}" for p in some})
        if not have:
            yield Undecidable(rule.id, name, f"suite {rule.suite} has no prompt for it")
            continue
        note = FORBIDDEN if exact else judges.note_for(rule)
        needed = prompts_needed(rule, policy, note, attempt=attempt)
        if needed is None:
            most = policy.evaluation.max_prompts
            yield Undecidable(rule.id, name, f"{most} prompts are not enough for a margin of {rule.margin:g}")
        elif have < needed:
            yield Undecidable(
                rule.id, name, f"suite {rule.suite} has {have} prompts for it, {needed} are needed"
            )
